"""The weekly validation as a flow of Prefect 3 (pip install prefect).

A flow that fails is tried again and goes on where it stopped, for predictions are kept as they
come. A trend that goes down fails the flow, so that its automations tell whom they tell.
"""

# pyright: reportMissingImports=false
from prefect import flow
from weekly_holdout_cron import main


def validate(data: str, ref: str, folder: str) -> None:
    """Run the weekly validation.

    Raises:
        RuntimeError: the trend goes down.
    """
    if main(data, ref, folder):
        msg = f"accuracy of {ref} goes down; see the log"
        raise RuntimeError(msg)


holdout = flow(validate, name="driftline holdout", retries=3, retry_delay_seconds=600)

if __name__ == "__main__":
    holdout.serve(
        name="weekly",
        cron="0 6 * * 1",
        parameters={
            "data": "holdout/{week}/data.yaml",
            "ref": "acme/line-3",
            "folder": "history",
        },
    )
