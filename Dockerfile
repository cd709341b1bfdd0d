# docker build -t ringmain .
# docker run -p 5514:5514 -p 5514:5514/udp -v ringmain:/var/lib/ringmain ringmain
#
# docs/running.md says more: configs, volumes, health, upgrades.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# The dependencies first: they change seldom, and are then not built again with every change of ours.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
RUN mkdir -p src examples && echo 'fn main() {}' >src/main.rs && touch src/lib.rs \
    && for name in $(sed -n '/^\[\[example\]\]/,/^$/s/^name = "\(.*\)"/\1/p' Cargo.toml); do echo 'fn main() {}' >"examples/$name.rs"; done \
    && cargo build --release --locked --lib --bins
COPY config.example.yaml ./
COPY src src
# Newer than what was built of nothing.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin ringmain

FROM debian:bookworm-slim
RUN groupadd --system --gid 8401 ringmain \
    && useradd --system --uid 8401 --gid ringmain --home-dir /var/lib/ringmain --shell /usr/sbin/nologin ringmain \
    && install -d -m 0700 -o ringmain -g ringmain /var/lib/ringmain
COPY --from=build /build/target/release/ringmain /usr/bin/ringmain
COPY LICENSE /usr/share/doc/ringmain/copyright
COPY packaging/docker.yaml /etc/ringmain/config.yaml
USER ringmain
WORKDIR /var/lib/ringmain
VOLUME /var/lib/ringmain
EXPOSE 5514/tcp 5514/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["/usr/bin/ringmain", "health"]
ENTRYPOINT ["/usr/bin/ringmain"]
CMD ["run", "--config", "/etc/ringmain/config.yaml"]
