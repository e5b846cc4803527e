"""The weekly validation inside a service of yours, with APScheduler 3 (pip install apscheduler).

Two runs of the job never overlap, and one that was missed while the service was down is made up
for within a day.
"""

# pyright: reportMissingImports=false
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from weekly_holdout_cron import main as validate

DAY_SECONDS = 24 * 3600


def scheduler(data: str, ref: str, folder: str) -> BackgroundScheduler:
    """Return a scheduler with the job; the service starts it, and shuts it down when it ends."""
    made = BackgroundScheduler(timezone="UTC")
    made.add_job(
        validate,
        CronTrigger(day_of_week="mon", hour=6, timezone="UTC"),
        args=(data, ref, folder),
        id=f"holdout {ref}",
        max_instances=1,
        coalesce=True,
        misfire_grace_time=DAY_SECONDS,
    )
    return made


def main() -> None:
    weekly = scheduler("holdout/{week}/data.yaml", "acme/line-3", "history")
    weekly.start(paused=True)  # a service would not pause it
    for job in weekly.get_jobs():
        print(f"{job.id}: {job.trigger}")
    weekly.shutdown()


if __name__ == "__main__":
    main()
