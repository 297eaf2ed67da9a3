"""A small store made once, its page, and what the page holds."""

import json
import re
import shutil

import pandas as pd
import pytest

from interact.formats.schema import identify
from interact.study import report
from interact.study.report.measures import Measures
from interact.study.report.page import study_page
from interact.study.report.results import Results
from interact.study.report.store import open_study
from tests.report.synthetic import TEXTS, Shape, make_store

SMALL = Shape(steps=(0, 64), texts=TEXTS[:2], n=4)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("study") / "store", SMALL)


@pytest.fixture
def store(made, tmp_path):
    return shutil.copytree(made, tmp_path / "store")


@pytest.fixture(scope="session")
def written(made, tmp_path_factory):
    store = shutil.copytree(made, tmp_path_factory.mktemp("written") / "store")
    page = report.write(store)
    assert page == store / "report" / "index.html"
    return page


def page_of(folder) -> str:
    study = open_study(folder)
    return study_page(study, Measures(study.metrics), Results(study))


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def change(folder, name: str, alter) -> None:
    table = pd.read_parquet(folder / f"{name}.parquet")
    alter(table).to_parquet(folder / f"{name}.parquet")


def grown(metrics, rows):
    return pd.concat([metrics, identify(pd.DataFrame(rows), "metrics")], ignore_index=True)
