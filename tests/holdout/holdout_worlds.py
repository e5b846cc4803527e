"""Worlds whose true mAP is known: images with objects, a detector, and what it makes of them."""

import numpy as np

from driftline._stats.average_precision import Ranking, average_precision

THRESHOLDS = 10


class World:
    """Detections after matching, drawn image by image.

    Objects of an image share a difficulty, so that detections of one image are not independent.
    An object is found with a confidence and an overlap that both follow from how visible it is;
    other detections are false, with low confidences.
    """

    def __init__(
        self,
        classes: int = 1,
        *,
        objects_per_image: float = 6.0,
        false_per_image: float = 4.0,
        zipf: float = 0.0,
        difficulty: float = 0.6,
        skill: float = 0.0,
        cluster: int = 1,
        cluster_difficulty: float = 0.0,
    ) -> None:
        share = 1.0 / np.arange(1, classes + 1) ** zipf
        self.share = share / share.sum()
        self.objects_per_image = objects_per_image
        self.false = false_per_image
        self.difficulty = difficulty
        self.skill = skill
        self.cluster = cluster
        self.cluster_difficulty = cluster_difficulty

    def objects(self, n: int, rng: np.random.Generator) -> "Objects":
        """What is there to find in n images; images come in clusters of equal size."""
        per_image = rng.poisson(self.objects_per_image * np.exp(rng.normal(-0.125, 0.5, n)))
        image = np.repeat(np.arange(n), per_image)
        shared = rng.normal(0, self.difficulty, n)
        groups = np.arange(n) // self.cluster
        shared += rng.normal(0, self.cluster_difficulty, groups.max() + 1)[groups]
        return Objects(
            n,
            image,
            label=rng.choice(len(self.share), size=len(image), p=self.share),
            visible=shared[image] + rng.normal(0, 1, len(image)),
        )

    def detect(self, objects: "Objects", rng: np.random.Generator) -> "Draw":
        """What a detector of this world's skill makes of them."""
        count = len(objects.image)
        visible = objects.visible + 1.1 + self.skill
        found = visible + rng.normal(0, 0.3, count) > 0
        overlap = 1 - 0.33 * np.exp(-0.45 * visible + rng.normal(0, 0.6, count))
        level = np.where(found, np.clip(np.floor((overlap - 0.45) / 0.05), 0, THRESHOLDS), 0)
        confidence = 1 / (1 + np.exp(-(visible - 0.5 + rng.normal(0, 0.7, count))))
        false_image = np.repeat(np.arange(objects.n), rng.poisson(self.false, objects.n))
        false_label = rng.choice(len(self.share), size=len(false_image), p=self.share)
        false_confidence = rng.beta(1.2, 4.5, len(false_image))
        return Draw(
            objects.n,
            len(self.share),
            truth_image=objects.image,
            truth_label=objects.label,
            image=np.concatenate([objects.image[found], false_image]),
            label=np.concatenate([objects.label[found], false_label]),
            level=np.concatenate([level[found], np.zeros(len(false_image))]),
            confidence=np.concatenate([confidence[found], false_confidence]),
        )

    def draw(self, n: int, rng: np.random.Generator) -> "Draw":
        return self.detect(self.objects(n, rng), rng)

    def true_ap(self, *, images: int = 200_000, seed: int = 99) -> np.ndarray:
        """``(classes,)`` average precision in the limit, by one very large draw."""
        draw = self.draw(images, np.random.default_rng(seed))
        return np.array([average_precision(one, np.ones(images)).mean() for one in draw.rankings()])


class Objects:
    """Labelled objects of some images."""

    def __init__(self, n, image, *, label, visible):
        self.n, self.image, self.label, self.visible = n, image, label, visible


class Draw:
    """A sample of a world."""

    def __init__(self, n, classes, *, truth_image, truth_label, image, label, level, confidence):
        self.n, self.classes = n, classes
        self.truth_image, self.truth_label = truth_image, truth_label
        order = np.argsort(-confidence, kind="stable")
        self.image, self.label = image[order], label[order]
        self.level, self.confidence = level[order], confidence[order]

    def rankings(self) -> list[Ranking]:
        answer = []
        for one in range(self.classes):
            rows = np.flatnonzero(self.label == one)
            hit = self.level[rows] > np.arange(THRESHOLDS)[:, None]
            truth = np.bincount(self.truth_image[self.truth_label == one], minlength=self.n)
            answer.append(
                Ranking(
                    unit=self.image[rows],
                    hit=hit,
                    ignored=np.zeros_like(hit),
                    truth=truth.astype(float),
                )
            )
        return answer
