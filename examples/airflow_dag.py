"""The weekly validation as a DAG of Airflow 3: put it beside weekly_holdout_cron.py in the folder of DAGs.

A task that fails is tried again and goes on where it stopped, for predictions are kept as they
come. A trend that goes down fails the task for good, so that Airflow tells whom it tells.
"""

# pyright: reportMissingImports=false
from datetime import UTC, datetime, timedelta

from airflow.exceptions import AirflowFailException
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

REF = "acme/line-3"


def validate(data: str, ref: str, folder: str) -> None:
    """Run the weekly validation.

    Raises:
        AirflowFailException: the trend goes down.
    """
    from weekly_holdout_cron import main  # noqa: PLC0415 - the scheduler parses this file every few seconds

    if main(data, ref, folder):
        msg = f"accuracy of {ref} goes down; see the log"
        raise AirflowFailException(msg)


with DAG(
    dag_id="driftline_holdout",
    schedule="0 6 * * 1",
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
) as dag:
    PythonOperator(
        task_id="validate",
        python_callable=validate,
        op_args=["/data/holdout/{week}/data.yaml", REF, "/data/history"],
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
