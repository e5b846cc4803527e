"""Spark in this machine, once a session."""

import pytest
from lake_kit import java, missing


@pytest.fixture(scope="session")
def spark():
    """A local Spark session on one core."""
    pyspark = pytest.importorskip("pyspark", reason="NOT RUN ON SPARK: pip install pyspark")
    if java() is None:
        missing("NOT RUN ON SPARK: it needs Java 17 (apt-get install default-jre-headless)")
    session = (
        pyspark.sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    yield session
    session.stop()
