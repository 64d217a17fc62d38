"""Registers two versions of a small classifier of handwritten digits: version 1 is the champion, version 2 a candidate.

The data come with scikit-learn. One half trains; the other half is what users will ask about (see traffic.py).
"""

import logging
import warnings

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

MODEL = "digits"


def halves():
    """Images and labels to train with, images and labels to ask about."""
    images, labels = load_digits(return_X_y=True)
    train, ask, train_labels, ask_labels = train_test_split(
        images, labels, test_size=0.5, random_state=7, stratify=labels
    )
    return train, train_labels, ask, ask_labels


def main():
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    train, train_labels, ask, ask_labels = halves()
    mlflow.set_experiment("digits-training")
    for classifier in (GaussianNB(), LogisticRegression(max_iter=2000)):
        with mlflow.start_run():
            classifier.fit(train, train_labels)
            registered = mlflow.sklearn.log_model(
                classifier,
                name="model",
                registered_model_name=MODEL,
                signature=infer_signature(train[:2], classifier.predict(train[:2])),
                pip_requirements=["scikit-learn"],  # said, so that MLflow need not find out
            )
        accuracy = classifier.score(ask, ask_labels)
        version = registered.registered_model_version
        print(f"{MODEL} version {version}: {type(classifier).__name__}, {accuracy:.1%} of the other half right")

    registry = mlflow.MlflowClient()
    registry.set_registered_model_alias(MODEL, "champion", "1")
    registry.set_model_version_tag(MODEL, "2", "ab_test_candidate", "true")
    registry.set_model_version_tag(MODEL, "2", "ab_test.weight", "50")


if __name__ == "__main__":
    main()
