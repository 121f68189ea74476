# The version is the one of go.mod; `make image` passes it along with what the binary shall say of itself.
ARG GO_VERSION=1.26.8

FROM golang:${GO_VERSION}-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG COMMIT=
ARG DATE=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT} -X main.date=${DATE}" \
    -o /llmopt ./cmd/llmopt && mkdir -m 700 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /llmopt /llmopt
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
# Clients come from outside of the container. The admin service stays on its loopback address until it gets a token:
# OPTIMIZER_ADMIN__LISTEN=0.0.0.0:8081 and OPTIMIZER_ADMIN__TOKEN.
ENV OPTIMIZER_SERVER__LISTEN=0.0.0.0:8080 OPTIMIZER_STORAGE__DIR=/data
VOLUME /data
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/llmopt", "status", "--health"]
ENTRYPOINT ["/llmopt"]
CMD ["serve"]
