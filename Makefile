# A thin layer over meson and ninja, so that the usual words work on a machine that has nothing yet.
#
#	make            an optimised build in build-release/
#	make demo       install what is missing, build, and fork a microVM before your eyes
#	make check      every test, with warnings as errors
#	make bench      our figures beside their references
#	make install    PREFIX and DESTDIR are honoured; uninstall takes away what install put there
#
# `make check TESTS=...` runs a part: unit, cli, host, cli:fork.bats, check:layers. `make bench ROWS=images` as well.

PREFIX  ?= /usr/local
DESTDIR ?=
RELEASE := build-release
CHECK   := build-check
TESTS   ?= unit cli host check:layers check:docs
MESON_FLAGS ?=
RELEASE_FLAGS := --buildtype=release -Dfailpoints=false -Dtests=false

.PHONY: all demo check bench install uninstall clean

all:
	@scripts/install-deps build
	@scripts/build $(RELEASE) $(RELEASE_FLAGS) --prefix=$(PREFIX) $(MESON_FLAGS)

demo:
	@scripts/demo $(RELEASE) $(RELEASE_FLAGS)

check:
	@scripts/install-deps build run test
	@scripts/build $(CHECK) -Dwerror=true $(MESON_FLAGS)
	@scripts/run-tests --build $(CHECK) $(TESTS)

bench: all
	@scripts/install-deps run bench
	@bench/run --build $(RELEASE) $(if $(MARKDOWN),--markdown $(MARKDOWN)) $(ROWS)

install: all
	@DESTDIR='$(DESTDIR)' meson install -C $(RELEASE) --no-rebuild --quiet

uninstall:
	@scripts/uninstall $(RELEASE) '$(DESTDIR)'

clean:
	rm -rf $(RELEASE) $(CHECK) build-asan build-fuzz build-tidy build-images
