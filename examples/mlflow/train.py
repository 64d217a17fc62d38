"""Registers two versions of a small classifier of handwritten digits: version 1 is the champion, version 2 a candidate.

The data come with scikit-learn. One half is for training; users send the other half (see traffic.py).
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
    """Returns the training images and labels, and the test images and labels."""
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.5, random_state=7, stratify=labels
    )
    return train, train_labels, test, test_labels


def main():
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    train, train_labels, test, test_labels = halves()
    mlflow.set_experiment("digits-training")
    for classifier in (GaussianNB(), LogisticRegression(max_iter=2000)):
        with mlflow.start_run():
            classifier.fit(train, train_labels)
            registered = mlflow.sklearn.log_model(
                classifier,
                name="model",
                registered_model_name=MODEL,
                signature=infer_signature(train[:2], classifier.predict(train[:2])),
                pip_requirements=["scikit-learn"],  # explicit, so that MLflow does not infer it
            )
        accuracy = classifier.score(test, test_labels)
        version = registered.registered_model_version
        print(f"{MODEL} version {version}: {type(classifier).__name__}, accuracy {accuracy:.1%}")

    registry = mlflow.MlflowClient()
    registry.set_registered_model_alias(MODEL, "champion", "1")
    registry.set_model_version_tag(MODEL, "2", "ab_test_candidate", "true")
    registry.set_model_version_tag(MODEL, "2", "ab_test.weight", "50")


if __name__ == "__main__":
    main()
