# make run | test | build | asan | tsan | fuzz | format | lint | clean

PRESET ?= release
JOBS ?= $(shell nproc)
BIN := build/$(PRESET)/bin

.PHONY: run test build configure asan tsan fuzz format lint clean packages
.DEFAULT_GOAL := build

packages:
ifneq ($(PACKAGES),skip)
	@tools/install-packages.sh
endif

configure: packages
	cmake --preset $(PRESET) -Wno-dev

build: configure ## the programs, in build/release/bin
	cmake --build build/$(PRESET) -j $(JOBS) --target programs

run: build ## the mesh with the demo model, ready to chat
	$(BIN)/bellwether up

test: configure ## every test
	cmake --build build/$(PRESET) -j $(JOBS)
	cd tests/clients && npm ci --no-audit --no-fund
	ctest --test-dir build/$(PRESET) --output-on-failure

asan tsan: packages ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, or ThreadSanitizer
	cmake --preset $@ -Wno-dev
	cmake --build build/$@ -j $(JOBS)
	ctest --preset $@

fuzz: packages ## every fuzzer for FUZZ_SECONDS seconds each
	cmake --preset asan -Wno-dev
	cmake --build build/asan -j $(JOBS)
	tests/fuzz/run.sh build/asan/bin $(or $(FUZZ_SECONDS),60)

format: ## every source file, in place
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' '*.proto' | xargs clang-format-19 -i

lint: configure ## clang-tidy over the whole tree
	git ls-files 'libs/*.cpp' 'services/*.cpp' 'cli/*.cpp' | xargs -P $(JOBS) -n 4 clang-tidy-19 -p build/$(PRESET) --quiet

clean:
	rm -rf build
