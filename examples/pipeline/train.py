"""Registers four versions of a small classifier of handwritten digits: version 1 is the champion, the others are candidates.

Version 2 is better than version 1, version 3 is worse, and version 4 fails. The data come with scikit-learn. One half is for
training; users send the other half (see traffic.py).
"""

import logging
import warnings

import mlflow
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

MODEL = "digits"


def halves():
    """Returns the training images and labels, and the test images and labels."""
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.5, random_state=7, stratify=labels
    )
    return train, train_labels, test, test_labels


def main():
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    images, labels, _, _ = halves()
    versions = (
        (GaussianNB(), images, labels, "a simple classifier"),
        (LogisticRegression(max_iter=2000), images, labels, "a better one"),
        (LogisticRegression(max_iter=2000), images[:20], labels[:20], "trained with too little data"),
        # The requests have eight features more.
        (LogisticRegression(max_iter=2000), images[:, :56], labels, "with another input than the others: it fails"),
    )
    registry = mlflow.MlflowClient()
    mlflow.set_experiment("digits-training")
    for classifier, images, labels, note in versions:
        with mlflow.start_run():
            classifier.fit(images, labels)
            registered = mlflow.sklearn.log_model(
                classifier,
                name="model",
                registered_model_name=MODEL,
                pip_requirements=["scikit-learn"],  # explicit, so that MLflow does not infer it
            )
        version = str(registered.registered_model_version)
        # The cluster whose servers have this version.
        registry.set_model_version_tag(MODEL, version, "ab_test.cluster", "models")
        print(f"{MODEL} version {version}: {note}")

    registry.set_registered_model_alias(MODEL, "champion", "1")
    for version in ("2", "3", "4"):
        registry.set_model_version_tag(MODEL, version, "ab_test_candidate", "true")


if __name__ == "__main__":
    main()
