# rlaif on a CPU. Build and run:
#   docker build -t rlaif .
#   docker run --rm -v rlaif-runs:/data/runs rlaif                 the default loop; the volume keeps the run
#   docker run --rm -v rlaif-runs:/data/runs rlaif status          any other command
#   docker build -t rlaif-test --target test . && docker run --rm rlaif-test      the tests
FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# gptqmodel and pypcre come as source; what they bring is compiled here, or when it is first used
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
# PyPI's torch for Linux brings CUDA, which a CPU has no use for: the same version, built without it
RUN pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)"

FROM base AS test
RUN pip install -c constraints.txt -e ".[test]"
RUN useradd --create-home tester && chown -R tester /app
USER tester
CMD ["pytest"]

FROM base AS run
RUN pip install -c constraints.txt .
RUN useradd --create-home rlaif && mkdir -p /data/runs && chown -R rlaif /data
USER rlaif
WORKDIR /data
ENTRYPOINT ["rlaif"]
CMD ["loop", "--rounds", "3"]
