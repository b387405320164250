"""The loop that anybody would write: requests, orjson, the next link."""

import json
import sys

import orjson
import requests

url, count = sys.argv[1], 0
with requests.Session() as session:
    while url:
        answer = session.get(url, timeout=60)
        answer.raise_for_status()
        body = orjson.loads(answer.content)
        for record in body["data"]:
            last = record["id"]
            count += 1
        url = body["next"]
print(json.dumps({"records": count, "last": f'"id":{last}'}))
