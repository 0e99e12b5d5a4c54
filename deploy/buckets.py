"""Make the buckets that the arguments name in the S3-compatible store of AWS_ENDPOINT_URL, where they are not there yet."""

import sys

import boto3


def main(names: list[str]) -> None:
    store = boto3.client("s3")
    there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            store.create_bucket(Bucket=name)
        print(f"{name}: {'there' if name in there else 'made'}")


if __name__ == "__main__":
    main(sys.argv[1:])
