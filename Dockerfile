# The product's image: production dependencies by hash, the source, no build tools, an ordinary user.

FROM python:3.11.14-slim-bookworm AS dependencies
COPY requirements/uv.txt requirements/production.txt /requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements/uv.txt \
    && uv venv /opt/parlance \
    && uv pip sync --no-cache --require-hashes --compile-bytecode --python /opt/parlance/bin/python \
        /requirements/production.txt

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 parlance \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin parlance \
    && install -d -o parlance -g parlance /app/keys \
    && printf '#!/bin/sh\nexec python -P -m parlance "$@"\n' > /usr/local/bin/parlance \
    && chmod 755 /usr/local/bin/parlance
COPY --from=dependencies /opt/parlance /opt/parlance
COPY . /app

# PYTHONPATH lets `parlance` be called from any folder.
ENV PATH=/opt/parlance/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    APP_ENV=production
WORKDIR /app
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 5503
STOPSIGNAL SIGTERM

# For `serve`; the job worker, which serves no requests, turns it off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", 5503)}/health', timeout=2)"]

ENTRYPOINT ["parlance"]
CMD ["serve"]
