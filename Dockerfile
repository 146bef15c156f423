# syntax=docker/dockerfile:1
# One static binary, two images: the hub needs nothing beside it, the worker
# brings the dump clients of the databases that it backs up.
#
#   docker build --target hub    -t xvault-hub    .
#   docker build --target worker -t xvault-worker .

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X xvault/cmd.version=${VERSION}" -o /xvault .

FROM gcr.io/distroless/static-debian12:nonroot AS hub
COPY --from=build /xvault /usr/local/bin/xvault
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/xvault", "hub", "health"]
ENTRYPOINT ["/usr/local/bin/xvault"]
CMD ["hub", "serve"]

FROM debian:bookworm-slim AS worker
# For restore drills: --build-arg DRILL_SERVERS="postgresql mariadb-server". The
# servers are not started; drills run them as they need them.
ARG DRILL_SERVERS=""
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates mariadb-client postgresql-client ${DRILL_SERVERS} \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/*/main /var/lib/mysql \
 && groupadd --system --gid 65532 xvault \
 && useradd --system --uid 65532 --gid xvault --home-dir /var/lib/xvault --shell /usr/sbin/nologin xvault \
 && install -d -o xvault -g xvault -m 0700 /var/lib/xvault /var/lib/xvault/backups /var/lib/xvault/worker
COPY --from=build /xvault /usr/local/bin/xvault
USER 65532:65532
VOLUME ["/var/lib/xvault"]
EXPOSE 8081
ENTRYPOINT ["/usr/local/bin/xvault"]
CMD ["worker", "run"]
