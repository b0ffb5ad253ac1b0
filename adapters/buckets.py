"""Buckets of S3: made, and given the policy that the product needs."""

from __future__ import annotations

import json

import minio


def make_bucket(client: minio.Minio, bucket: str) -> None:
    """Make the bucket if it is missing, and let anybody read its avatars and thumbnails, but list nothing."""
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    public = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*" for prefix in ("avatars", "thumbnails")],
    }
    client.set_bucket_policy(bucket, json.dumps({"Version": "2012-10-17", "Statement": [public]}))
