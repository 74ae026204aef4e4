# The commands of the project; `make help` lists them. Each installs the Debian packages it needs (ci/packages/) and
# says so. The build itself is CMake's: presets in CMakePresets.json, folders in build/PRESET.
.DEFAULT_GOAL := programs
.NOTPARALLEL:
.PHONY: help programs demo test bench lint format soak fresh-machine install uninstall clean

PREFIX ?= /usr/local
DESTDIR ?=
PRESET ?= release

help:                ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p;s/^\([a-z-]*\):  *## /  make \1\t/p' Makefile | sort -u | expand -t 24

programs:            ## the programs, in build/release/bin, and the libraries, in build/release/lib
	@ci/install-packages build dpdk xdp
	@ci/build $(PRESET) programs

demo:                ## from nothing to a page fetched by curl over the stack
	@./demo

test:                ## the quick suite: unit, scripts, lints, end to end, sanitizers, 1,000 seeds, 20 s a fuzzer
	@ci/test

bench:               ## micro-benchmarks and workloads
	@ci/bench

lint:                ## clang-tidy over everything, clang-format over the lines that you changed
	@ci/install-packages build dpdk xdp test lint
	@ci/lint

format:              ## lays the lines that you changed out as .clang-format says
	@ci/install-packages lint
	@git clang-format-14 --binary clang-format-14 --extensions cc,h -f "$$(ci/changed-since)"

soak:                ## 10,000 seeds and more, 10 minutes a fuzzer, kill loops (hours)
	@ci/soak

fresh-machine:       ## the README's commands on a bare Debian 12 made for it (root, about 20 minutes)
	@ci/fresh-machine

install: programs    ## under PREFIX (/usr/local), below DESTDIR if given
	@DESTDIR="$(DESTDIR)" cmake --install build/$(PRESET) --prefix "$(PREFIX)" --strip

uninstall:           ## removes what the last `make install` wrote
	@test -f build/$(PRESET)/install_manifest.txt || { echo "nothing was installed from build/$(PRESET)"; exit 1; }
	@sed 's|^|$(DESTDIR)|' build/$(PRESET)/install_manifest.txt | xargs -d '\n' rm -vf --
	@sed 's|^|$(DESTDIR)|' build/$(PRESET)/install_manifest.txt | \
	  awk '{ while (sub("/[^/]*$$", "") && /\/millrace(\/|$$)/) print }' | sort -ur | \
	  xargs -d '\n' rmdir --ignore-fail-on-non-empty

clean:               ## removes build/
	@rm -rf build
