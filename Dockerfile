# syntax=docker/dockerfile:1

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY cmd cmd
COPY internal internal
# There is no git in here: pass --build-arg VERSION="$(git describe --tags)".
ARG VERSION=devel
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/chatwoot-sla ./cmd/chatwoot-sla
# An empty named volume takes over the owner of the folder that it covers.
RUN mkdir /out/data /out/artifacts

# Pinned by tag. Whoever needs builds that repeat to the byte appends the digest.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/chatwoot-sla /chatwoot-sla
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/artifacts /artifacts

# Everything is written below these two, so the root can be read-only. Reached
# from outside without authentication (WEB_CONFIG_FILE), the page shows no names.
ENV LISTEN_ADDR=0.0.0.0:9642 \
    DATA_DIR=/data \
    ARTIFACTS_DIR=/artifacts \
    LOG_FORMAT=json
VOLUME ["/data", "/artifacts"]
EXPOSE 9642

# The user "nonroot", by number: Kubernetes cannot tell that a name is not root.
USER 65532:65532

# Whether the daemon answers, not whether Chatwoot is up. Kubernetes ignores it
# and asks GET /healthz itself.
HEALTHCHECK --start-period=30s CMD ["/chatwoot-sla", "healthcheck"]
ENTRYPOINT ["/chatwoot-sla"]
CMD ["serve"]
