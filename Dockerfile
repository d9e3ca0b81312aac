# The program alone, in an image without a shell: docker build -t reprise:0.1.0 .
#
# Both stages are Debian 12, so that the program finds the C library that it was linked with. What is compiled stays in caches of
# the builder, since a first build takes minutes: librdkafka and OpenSSL are built from source.

FROM rust:1.95-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# OpenSSL's own build wants perl and make; librdkafka's a C++ compiler too. Whatever Debian has of them is right.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ make perl && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The image below has neither zlib nor, in each of its versions, OpenSSL.
ENV LIBZ_SYS_STATIC=1
# The cache is not part of the image, so the program has to leave it in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --release --locked --features tls-vendored --bin reprise && cp target/release/reprise /usr/local/bin/ && mkdir /lake

# The C library, the certificates of public authorities, and nothing else. Its tags are those of Debian; who needs the same bytes
# again pins a digest.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="reprise" \
      org.opencontainers.image.description="Music charts from Kafka, live and replayed through one timely dataflow" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /usr/local/bin/reprise /usr/local/bin/reprise
# The number owns the files of the lake, and is the same in systemd's unit and in Kubernetes.
COPY --from=build --chown=878:878 /lake /lake
USER 878:878
# REPRISE_LISTEN is not set here: whoever opens the port of a server that asks for no password says so where it runs.
ENV REPRISE_LAKE=/lake
VOLUME /lake
EXPOSE 7878
# It lives if it answers. Whether it has read its lake is another question: `reprise health --ready`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["/usr/local/bin/reprise", "health"]
# Ctrl-C and SIGTERM commit what was read, and leave.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/reprise"]
CMD ["--help"]
