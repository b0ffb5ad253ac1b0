"""S3 bucket: creation, and the policy that the product needs."""

from __future__ import annotations

import json

import minio


def make_bucket(client: minio.Minio, bucket: str) -> None:
    """Create the bucket if it is missing, with public reads of avatars and thumbnails but not of listings."""
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    public = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*" for prefix in ("avatars", "thumbnails")],
    }
    client.set_bucket_policy(bucket, json.dumps({"Version": "2012-10-17", "Statement": [public]}))
