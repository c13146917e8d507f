# What people and CI run. `make test` is the whole suite against real servers; `make tools` fetches them.
# `make bench` says what a call costs; benches/main.rs says how.

.PHONY: bench build demo dist fmt fuzz lint notices storm test tools

# BENCH_PEERS names further exec plugins to stand beside ours: `make bench BENCH_PEERS="a get-token; b token"`.
export BENCH_PEERS
bench:
	tests/rig/tools --bench
	plugin=$$(krew-manifest/build) && BENCH_PLUGIN=$$plugin cargo bench --locked --bench cost

build:
	cargo build --release --locked

# Installs what the tests start, once per machine; a second where all is there.
tools:
	tests/rig/tools

# What waits for the clock of a server (`faults`) runs by itself, one after the other: beside browsers, or beside each
# other, they would come too late.
test: tools
	cargo test --locked --lib --bins
	cargo test --locked --test it -- --skip faults::
	cargo test --locked --test it faults:: -- --test-threads=1

# A hundred processes for a thousand rounds, with kills and expiry; CI makes some rounds of it.
storm: tools
	VAULTTOKEN_TEST_STORM_ROUNDS=1000 cargo test --locked --test it storms::a_hundred_at_once_in_many -- --nocapture

# Five minutes for each parser of what somebody else wrote; CI gives each a hundred thousand inputs, always the same.
fuzz:
	fuzz/run 300

# The krew archive of this machine in dist/, and its checksum in the manifest.
dist:
	krew-manifest/dist --out dist
	cp dist/vaulttoken.yaml krew-manifest/vaulttoken.yaml

# Whose code the program contains, for the archive; after a change of Cargo.lock.
notices:
	VAULTTOKEN_TEST_WRITE_NOTICES=1 cargo test --locked --test it notices

demo: tools build
	cargo run --quiet --locked --example demo

fmt:
	cargo fmt

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
