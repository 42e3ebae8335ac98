# rllb: the headers need no build. This builds what is around them: examples, tests, benchmarks. GNU make.
#
#   CC=clang            another compiler (default cc)
#   CFLAGS=...          optimisation (default -O3); language and warnings are added
#   STB_DIR=folder      where stb_image_write.h is (default /usr/include/stb)
#   JOBS=n              processes at once in `make test` (default: the number of processors)
#   ONLY=words          `make test`: only the jobs whose name contains one of the words
#   TRACE=file.csv      `make demo`: recorded load instead of the bursty traffic
#   DEMO_ARGS=...       `make demo`: more options for the training
#   FULL=1              `make experiments`, `make learning`, `make http-experiment`, `make integration`: in full
#   REFERENCE=file.csv  `make experiments`: recorded loads to compare with
#   FUZZ_SECONDS=n      `make fuzz`: for each target (default 60)

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

STB_DIR ?= /usr/include/stb
CFLAGS ?= -O3
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60
PYTHON ?= python3

# Plain -O3: no -march=native, no -ffast-math; the headers choose their kernels at run time. Warnings are errors in
# tests only, so that a compiler of tomorrow with a new warning still builds the programs.
WARN := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Wundef \
        -Wdouble-promotion
STD := -std=c99 -D_POSIX_C_SOURCE=200809L
INCLUDE := -I. -Iexamples/common -isystem $(STB_DIR)
COMPILE = $(CC) $(STD) $(INCLUDE) $(CPPFLAGS) -MMD -MP
LINK = $(LDFLAGS) -lm -pthread $(LDLIBS)

# The implementation of the headers is compiled once for each configuration, and every example and test is linked with
# it: their own RLLB_IMPLEMENTATION finds the work done, and does it where a file is compiled by hand. A test that looks
# inside defines RLLB_STATIC instead, and has a copy of its own, when optimised without what it does not call.
LINKED := -DRLLB_I_DONE -DRLLB_NN_I_DONE -DRLLB_ENV_I_DONE
inside := $(basename $(notdir $(shell grep -l '^\#define RLLB_STATIC' tests/*.c tests/fuzz/*.c 2>/dev/null)))
headers := rllb rllb_nn rllb_env

# RLLB_I_ASAN is what rllb.h finds out for itself; rllb_nn.h and the tests ask for it where rllb.h is linked.
ASAN := -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DRLLB_I_ASAN=1
TSAN := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# Instrumented, five sets of kernels take half a minute to compile: one program has all, the others the generic one.
GENERIC := -DRLLB_NO_SIMD -DRLLB_NN_NO_SIMD
# What a test's own copy has of them when nothing is instrumented.
KERNELS = $(if $(filter test_nn_kernels test_nn_golden% test_nn_sequences,$*),,-DRLLB_NN_NO_SIMD) \
          $(if $(filter test_balancer% test_flows,$*),,-DRLLB_NO_SIMD)
instrumented = $(filter-out test_nn_cartpole test_balancer_guard test_balancer_quiet,$(units))

common := $(wildcard examples/common/*.c)
examples := $(patsubst examples/%.c,build/%,$(wildcard examples/*.c))
benches := $(patsubst bench/%.c,build/%,$(wildcard bench/bench_*.c))
ifneq ($(wildcard bench/bench_nn.c),)
benches += build/bench_nn_nosimd
endif
units := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
threaded := $(foreach u,$(units),$(if $(findstring thread,$(u)),$(u)))
fuzzers := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# What speaks HTTP is linked with libuv and http-parser. Without them all else is built, and one line says so.
HTTP_LIBS := -luv -lhttp_parser
http_probe := \#include <uv.h>\n\#include <http_parser.h>\nint main(void) { return !http_parser_version(); }\n
http_found := $(if $(NO_HTTP),,$(shell printf '$(http_probe)' | $(CC) $(CPPFLAGS) -x c - -o /dev/null $(LDFLAGS) \
                $(HTTP_LIBS) 2>/dev/null && echo yes))
proxy_parts := proxy client upstream relay message config policy health watch admin
experiment_parts := experiment cells hosts apache figures report pictures
parts_of = $(patsubst %,examples/http/%.c,$(or $($(1)_parts),$(1) wire))
http_programs := $(foreach p,backend load proxy experiment,$(if $(filter-out $(wildcard \
                   examples/http/*.c),$(call parts_of,$(p))),,build/http/$(p)))
http_all := $(if $(http_programs),$(if $(http_found),$(http_programs),http-missing))
# The companion of HAProxy needs no library.
haproxy_parts := $(wildcard examples/haproxy/*.c)
haproxy := $(if $(haproxy_parts),build/haproxy/companion)
# Tests that include a part of examples/http.
http_tests := $(basename $(notdir $(shell grep -l '^\#include ".*examples/http/' tests/*.c tests/fuzz/*.c 2>/dev/null)))
ifeq ($(http_found),)
units := $(filter-out $(http_tests),$(units))
fuzzers := $(filter-out $(http_tests),$(fuzzers))
endif
# What takes longest to compile comes first.
long := $(filter %_kernels,$(units))
test_programs := $(if $(NO_ASAN),,$(if $(http_found),build/test/http_proxy.asan) $(long:%=build/test/%.asan)) \
                 $(units:%=build/test/%) \
                 $(if $(NO_ASAN),,$(instrumented:%=build/test/%.asan) $(fuzzers:%=build/test/%)) \
                 $(if $(NO_TSAN),,$(threaded:%=build/test/%.tsan))

all: $(examples) $(http_all) $(haproxy) ## build every example into build/NAME (the default)

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "    make %-16s%s\n", $$1, $$2 }'
	@echo; sed -n '3,/^$$/s/^#   /    /p' Makefile

test: ## run every check; the last line counts them
	+@JOBS='$(JOBS)' ONLY='$(ONLY)' CC='$(CC)' STB_DIR='$(STB_DIR)' PYTHON='$(PYTHON)' MAKE='$(MAKE)' sh tests/run.sh

bench: $(benches) ## measure; table and out/bench/results.jsonl
	@mkdir -p out/bench && : > out/bench/results.jsonl
	@for b in $(benches); do $$b --out out/bench || exit 1; done

bench-http: $(http_all) ## measure the proxy beside nginx and HAProxy; table and out/bench/results.jsonl
	@sh bench/http.sh --out out/bench

demo: build/train build/stress_test ## train a balancer, measure it against the classics, draw it: out/demo
	build/train --env honest --algo dueling $(if $(TRACE),--traffic trace --trace '$(TRACE)',--traffic bursty) \
	    --out out/demo/train $(DEMO_ARGS)
	@echo
	build/stress_test --env honest --model out/demo/train/model.safetensors \
	    $(if $(TRACE),--trace '$(TRACE)') --out out/demo
	@cp out/demo/train/reward_history.png out/demo/
	@echo "pictures: out/demo/stress_test.png out/demo/reward_history.png"

experiments: $(examples) ## every experiment in short form, FULL=1 in full: out/experiments/index.md
	@REFERENCE='$(REFERENCE)' SIMULATED='$(SIMULATED)' sh examples/experiments.sh $(if $(FULL),full,short)

learning: $(examples) ## what a balancer can learn, in short form, FULL=1 in full: out/learning/index.md
	@MODEL='$(MODEL)' sh examples/learning.sh $(if $(FULL),full,short)

http-experiment: $(http_all) ## balancers in HTTP traffic, in short form, FULL=1 in full: out/http/summary_report.md
	@build/http/experiment $(if $(FULL),,--quick) --out out/http

integration: $(http_all) $(haproxy) nginx-module ## the same with nginx and HAProxy, FULL=1 in full: out/integration
	@build/http/experiment --host nginx,haproxy $(if $(FULL),,--quick) --out out/integration

nginx-module: ## the nginx modules of HTTP and streams, where nginx-dev is installed: build/nginx
	@bash examples/nginx/build.sh

model: build/marl_teach build/marl_search ## make the shipped model anew, in a quarter of an hour: out/model
	build/marl_teach --out out/model/1
	build/marl_search --from out/model/1/model.safetensors --only common --balancers 128 --flows 20000 --ticks 40000 \
	    --pairs 12 --generations 80 --out out/model/2
	build/marl_search --from out/model/2/model.safetensors --generations 0 --spread 1 --out out/model/3
	@mkdir -p models
	cp out/model/3/model.safetensors models/rllb-balancer.safetensors

soak: $(http_all) ## ten minutes of random faults under load against the proxy; SOAK_SECONDS=n
	@sh tests/soak/http.sh

fuzz: ## fuzz the readers at length with clang's libFuzzer
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' STB_DIR='$(STB_DIR)' sh tests/fuzz/run.sh

analyze: ## static analysis of the headers: gcc -fanalyzer, cppcheck, clang-tidy, scan-build
	@STB_DIR='$(STB_DIR)' sh tests/analyze.sh

golden: ## compute the fixtures of tests/golden again (needs PyTorch)
	@for p in tests/golden/make_*.py; do echo "$(PYTHON) $$p"; $(PYTHON) "$$p" || exit 1; done

deps: ## install what is missing through the system's package manager
	@STB_DIR='$(STB_DIR)' sh setup.sh deps

clean: ## remove build/; results in out/ stay
	rm -rf build

.PHONY: all help test bench bench-http demo experiments learning http-experiment model soak fuzz analyze golden
.PHONY: integration deps clean nginx-module test-programs http-missing FORCE

# Internal: all that tests/run.sh runs.
test-programs: $(test_programs) $(examples) $(http_all) $(haproxy) nginx-module

# Internal: what `make` says where the libraries of HTTP are not.
http-missing:
	@echo "not built, for want of libuv and http-parser (libuv1-dev, libhttp-parser-dev):" \
	    "$(notdir $(http_programs))" >&2

# ---- how things are built ----------------------------------------------------------------------------------------

# Changes when the compiler or a flag does, and so rebuilds.
build/flags: FORCE
	@mkdir -p build
	@echo "$(COMPILE) $(WARN) $(CFLAGS) $(LINK)" | cmp -s - $@ || echo "$(COMPILE) $(WARN) $(CFLAGS) $(LINK)" > $@

ifeq ($(wildcard $(STB_DIR)/stb_image_write.h),)
build/stb-found: FORCE
	@echo "stb_image_write.h is not in $(STB_DIR): run 'sh setup.sh deps', or give its folder with STB_DIR=" >&2; exit 1
else
build/stb-found:
	@mkdir -p build && : > $@
endif

# Headers and examples/common compiled once per configuration; stb*.c holds code that is not ours, so its warnings are
# not either. STRICT: tests/run.sh takes the headers' warnings for errors.
# $(1) folder of the objects, $(2) flags, $(3) what is in it
define library
build/$(1)/lib.a: $$(patsubst %,build/$(1)/%.o,$(3))
	@mkdir -p $$(@D) && rm -f $$@
	$(AR) rcs $$@ $$^
$$(headers:%=build/$(1)/%.o): build/$(1)/%.o: %.h build/flags
	@mkdir -p $$(@D)
	$$(COMPILE) $$(WARN) $(2) $$(filter-out $$(LINKED_$$*),$$(LINKED)) -DRLLB_IMPLEMENTATION -x c -c $$< -o $$@
build/$(1)/%.o: examples/common/%.c build/flags | build/stb-found
	@mkdir -p $$(@D)
	$$(COMPILE) $$(if $$(filter stb%,$$*),-w,$$(WARN)) $(2) $$(LINKED) -c $$< -o $$@
endef
LINKED_rllb := -DRLLB_I_DONE
LINKED_rllb_nn := -DRLLB_NN_I_DONE
LINKED_rllb_env := -DRLLB_ENV_I_DONE
everything := $(headers) $(common:examples/common/%.c=%)
$(eval $(call library,common,$$(if $$(filter $$*,$$(headers)),$$(STRICT)) $$(CFLAGS),$(everything)))
$(eval $(call library,common-asan,-O1 $(ASAN) $(GENERIC),$(everything)))
# Threads are a matter of the headers: these need no helpers.
$(eval $(call library,common-tsan,$(TSAN) $(GENERIC),$(headers)))

$(examples): build/%: examples/%.c build/flags build/common/lib.a
	$(COMPILE) -MF build/$*.d $(WARN) $(CFLAGS) $(LINKED) $< build/common/lib.a -o $@ $(LINK)

build/http/%.o: examples/http/%.c build/flags
	@mkdir -p $(@D)
	$(COMPILE) -Ibuild/http $(WARN) $(CFLAGS) $(LINKED) -c $< -o $@

# The operator's page as the body of a C array.
build/http/admin.o: build/http/page.inc
build/http/page.inc: examples/http/page.html
	@mkdir -p $(@D)
	od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g' > $@

# $(1) program of HTTP, $(2) what it is made of
define http_program
build/http/$(1): $(2:examples/%.c=build/%.o) build/common/lib.a
	$$(CC) $$^ -o $$@ $$(HTTP_LIBS) $$(LINK)
endef
$(foreach p,$(notdir $(http_programs)),$(eval $(call http_program,$(p),$(call parts_of,$(p)))))

# The proxy that test_http_proxy.asan starts.
build/test/http_proxy.asan: $(call parts_of,proxy) $(wildcard examples/http/*.h) build/http/page.inc build/flags \
                            build/common-asan/lib.a
	@mkdir -p $(@D)
	$(filter-out -MMD -MP,$(COMPILE)) -Ibuild/http $(WARN) -O1 $(ASAN) $(LINKED) $(filter %.c,$^) \
	    build/common-asan/lib.a -o $@ $(HTTP_LIBS) $(LINK)

build/haproxy/%.o: examples/haproxy/%.c build/flags
	@mkdir -p $(@D)
	$(COMPILE) $(WARN) $(CFLAGS) $(LINKED) -c $< -o $@

build/haproxy/companion: $(haproxy_parts:examples/%.c=build/%.o) build/common/lib.a
	$(CC) $^ -o $@ $(LINK)

$(filter-out build/bench_nn_nosimd,$(benches)): build/%: bench/%.c build/flags build/common/lib.a
	$(COMPILE) -MF build/$*.d $(WARN) $(CFLAGS) $< build/common/lib.a -o $@ $(LINK)

build/bench_nn_nosimd: bench/bench_nn.c build/flags build/common/lib.a
	$(COMPILE) -MF build/bench_nn_nosimd.d $(WARN) $(CFLAGS) -DRLLB_NN_NO_SIMD $< build/common/lib.a -o $@ $(LINK)

# Unit tests: with the headers optimised as a user would, under AddressSanitizer and UBSan, and under ThreadSanitizer.
# Tests themselves need not be optimised much. Instrumented code makes gcc see conversions that nobody wrote, so only
# the plain build takes warnings for errors.
# $(1) suffix, $(2) flags, $(3) flags of a copy of its own, $(4) library, $(5) programs, $(6) folder
define unit_tests
$(5): build/test/%$(1): $(6)/%.c build/flags build/$(4)/lib.a
	@mkdir -p $$(@D)
	$$(COMPILE) -Itests -MF $$@.d $$(WARN) $(2) $$(if $$(filter $$*,$$(inside)),$(3),$$(LINKED)) $$< build/$(4)/lib.a \
	    -o $$@ $$(if $$(filter $$*,$$(http_tests)),$$(HTTP_LIBS)) $$(LINK)
endef
$(eval $(call unit_tests,,-Werror $$(CFLAGS) $$(OPTIMISED),$$(KERNELS),common,$(units:%=build/test/%),tests))
OPTIMISED = $(if $(filter test_nn_kernels,$*),,-O1)
$(eval $(call unit_tests,.asan,$(ASAN) $$(ASAN_LEVEL),$$(ASAN_KERNELS),common-asan,\
    $(instrumented:%=build/test/%.asan),tests))
# What runs for long is optimised, the rest compiles in half the time.
ASAN_LEVEL = $(if $(filter test_balancer_model test_env test_nn_learn test_nn_sequences,$*),-O1,-O0)
ASAN_KERNELS = $(if $(filter %_kernels,$*),,$(GENERIC))
$(eval $(call unit_tests,.tsan,$(TSAN),$(GENERIC),common-tsan,$(threaded:%=build/test/%.tsan),tests))
# Fuzz targets with the small driver of fuzz_main.h; `make fuzz` builds them with libFuzzer.
$(eval $(call unit_tests,,-O1 $(ASAN),$(GENERIC),common-asan,$(fuzzers:%=build/test/%),tests/fuzz))

-include $(wildcard build/*.d build/*/*.d)
