# Build in one image, run in one that holds nothing but the binary.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY examples examples
COPY src src
RUN cargo build --release --locked --bin portcullis

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/portcullis /usr/local/bin/portcullis
USER nonroot
WORKDIR /etc/portcullis
EXPOSE 8080
# The admin listener is on loopback, so the check runs inside the container.
HEALTHCHECK --interval=10s --timeout=3s CMD ["/usr/local/bin/portcullis", "check", "--health", "http://127.0.0.1:9901"]
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["serve", "--config", "/etc/portcullis/portcullis.yaml"]
