"""botocore: signed requests to an S3 and an STS of the test's own."""

from __future__ import annotations

from typing import Any

from botocore.config import Config
from botocore.session import Session

Options = dict[str, Any]


def work_botocore(options: Options) -> dict[str, Any]:
    """Puts, gets, lists page by page, and asks who it is."""
    session = Session()
    session.set_credentials("AKIDEXAMPLE", "wJalrXUtnFEMI")
    place = {
        "region_name": "eu-central-1",
        "endpoint_url": f"http://localhost:{options['s3']}",
        "config": Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
    }
    s3 = session.create_client("s3", **place)
    for number in range(5):
        s3.put_object(Bucket="lake", Key=f"part-{number}.csv", Body=b"id\n" * 10_000)
    body = s3.get_object(Bucket="lake", Key="part-3.csv")["Body"].read()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="lake", PaginationConfig={"PageSize": 2})
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    try:
        s3.get_object(Bucket="lake", Key="absent")
        absent = "found"
    except s3.exceptions.NoSuchKey:
        absent = "NoSuchKey"
    who = session.create_client("sts", **place).get_caller_identity()["Account"]
    return {"body": len(body), "keys": keys, "absent": absent, "who": who}
