"""From cron: score the endpoint (key in ULTRALYTICS_API_KEY) on the week's frames, judge the trend.

0 6 * * 1  python weekly_holdout_cron.py 'holdout/{week}/data.yaml' acme/line-3 history
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from driftline import Evaluation, HoldoutValidator, PlatformClient, Trend


def main(data: str, ref: str, folder: str) -> int:
    week, history = f"{datetime.now(UTC):%G-W%V}", Path(folder)
    history.mkdir(parents=True, exist_ok=True)
    data, checkpoint = data.format(week=week), history / f"{week}.jsonl"
    with PlatformClient() as platform:
        model = platform.endpoint(ref)
        score = HoldoutValidator(data, model, checkpoint=checkpoint, deployment=ref).validate()
    (history / f"{week}.json").write_text(json.dumps(score.to_dict()))
    kept = [json.loads(file.read_text()) for file in sorted(history.glob("*.json"))]
    trend = Trend.of([Evaluation.from_dict(one) for one in kept])
    print(score, trend, sep="\n")
    return 1 if trend.verdict == "falling" else 0  # cron mails what a failed job has written


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
