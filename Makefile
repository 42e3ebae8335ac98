# rllb: the headers need no build. This builds what is around them: examples, tests, benchmarks. GNU make.
#
#   CC=clang            another compiler (default cc)
#   CFLAGS=...          optimisation (default -O3); language and warnings are added
#   STB_DIR=folder      where stb_image_write.h is (default /usr/include/stb)
#   JOBS=n              processes at once in `make test` (default: the number of processors)
#   ONLY=words          `make test`: only the jobs whose name contains one of the words
#   TRACE=file.csv      `make demo`: recorded load instead of the bursty traffic
#   DEMO_ARGS=...       `make demo`: more options for the training
#   FULL=1              `make experiments`, `learning`, `http-experiment`, `integration`, `udp-lab`: in full
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
OBJCOPY ?= objcopy

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
# inside defines RLLB_STATIC instead; it reads the headers without the bodies of public functions (tests/inside.awk),
# and has private functions of its own.
LINKED := -DRLLB_I_DONE -DRLLB_NN_I_DONE -DRLLB_ENV_I_DONE
INSIDE := -iquote build/inside -DRLLB_API=extern
inside := $(basename $(notdir $(shell grep -l '^\#define RLLB_STATIC' tests/*.c tests/fuzz/*.c 2>/dev/null)))
headers := rllb rllb_nn rllb_env

# RLLB_I_ASAN is what rllb.h finds out for itself; rllb_nn.h and the tests ask for it where rllb.h is linked. -g1: lines
# for reports; more would double the time, since gcc follows every variable through instrumented code.
ASAN := -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DRLLB_I_ASAN=1
TSAN := -O1 -g1 -fno-omit-frame-pointer -fsanitize=thread
# Instrumented, five sets of kernels take half a minute to compile: the programs that are about kernels have all, those
# of the balancer among a test's private functions, those of networks in an object; the others have the generic one.
GENERIC := -DRLLB_NO_SIMD -DRLLB_NN_NO_SIMD
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
backend_parts := backend wire
load_parts := load wire
parts_of = $(patsubst %,examples/$(1)/%.c,$(or $($(2)_parts),$(2)))
# $(1) folder in examples, $(2) programs: those whose parts are all there
programs_of = $(foreach p,$(2),$(if $(filter-out $(wildcard examples/$(1)/*.c),$(call parts_of,$(1),$(p))),,\
                build/$(1)/$(p)))
http_programs := $(call programs_of,http,backend load proxy experiment)
http_all := $(if $(http_programs),$(if $(http_found),$(http_programs),http-missing))
# The companion of HAProxy needs no library.
companion_parts := companion lines mind
haproxy := $(call programs_of,haproxy,companion)
# The allocator of UDP and its agent ask and tell others by libcurl and cJSON.
UDP_LIBS := -lcurl -lcjson
udp_probe := \#include <cjson/cJSON.h>\n\#include <curl/curl.h>\nint main(void) { return curl_version() == \
             cJSON_Version(); }\n
udp_found := $(if $(NO_UDP),,$(shell printf '$(udp_probe)' | $(CC) $(CPPFLAGS) -x c - -o /dev/null $(LDFLAGS) \
               $(UDP_LIBS) 2>/dev/null && echo yes))
allocator_parts := allocator forward flows mind metrics source influx prometheus table clients health web
lab_parts := lab lab_findings lab_stage
agent_parts := agent proc line queue send web
traffic_parts := traffic traffic_count traffic_send traffic_sink
udp_curl := $(call programs_of,udp,allocator agent)
udp_programs := $(udp_curl) $(call programs_of,udp,traffic lab)
udp_all := $(if $(udp_found),$(udp_programs),$(filter-out $(udp_curl),$(udp_programs)) $(if $(udp_curl),udp-missing))
# Tests that include a part of examples/http or of examples/udp.
including = $(basename $(notdir $(shell grep -l -E '^\#include ".*examples/$(1)' tests/*.c tests/fuzz/*.c 2>/dev/null)))
http_tests := $(call including,http/)
udp_tests := $(call including,udp/.*[.]c)
without_library := $(if $(http_found),,$(http_tests)) $(if $(udp_found),,$(udp_tests))
units := $(filter-out $(without_library),$(units))
fuzzers := $(filter-out $(without_library),$(fuzzers))
# What takes longest to compile comes first.
test_programs := $(if $(NO_ASAN),,build/test/test_nn_kernels.asan $(if $(http_found),build/test/http_proxy.asan)) \
                 $(units:%=build/test/%) \
                 $(if $(NO_ASAN),,$(instrumented:%=build/test/%.asan) $(fuzzers:%=build/test/%)) \
                 $(if $(NO_TSAN),,$(threaded:%=build/test/%.tsan))

all: $(examples) $(http_all) $(haproxy) $(udp_all) ## build every example into build/NAME (the default)

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

bench-udp: $(udp_all) build/bench_udp ## measure the UDP allocator: packets a second and delay; out/bench/results.jsonl
	@sh bench/udp.sh --out out/bench

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

udp-lab: build/udp_train $(udp_all) ## the UDP allocator among real clients, in short form, FULL=1 in full: out/udp_lab
	@build/udp/lab $(if $(FULL),,--quick) --out out/udp_lab

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

.PHONY: all help test bench bench-http bench-udp demo experiments learning http-experiment integration udp-lab model
.PHONY: soak fuzz analyze golden deps clean nginx-module test-programs http-missing udp-missing FORCE

# Internal: all that tests/run.sh runs.
test-programs: nginx-module $(test_programs) $(examples) $(http_all) $(haproxy) $(udp_all)

# Internal: what `make` says where the libraries of HTTP are not.
http-missing:
	@echo "not built, for want of libuv and http-parser (libuv1-dev, libhttp-parser-dev):" \
	    "$(notdir $(http_programs))" >&2

udp-missing:
	@echo "not built, for want of libcurl and cJSON (libcurl4-openssl-dev, libcjson-dev): $(notdir $(udp_curl))" >&2

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

# For tests that look inside: the headers as they read them, and rllb.h with blocks from where they say.
$(headers:%=build/inside/%.h): build/inside/%.h: %.h tests/inside.awk
	@mkdir -p $(@D)
	awk -f tests/inside.awk $< > $@

build/common-asan/rllb_nn_kernels.o: rllb_nn.h build/flags
	@mkdir -p $(@D)
	$(COMPILE) $(WARN) -O0 $(ASAN) $(filter-out $(LINKED_rllb_nn),$(LINKED)) -DRLLB_IMPLEMENTATION -x c -c $< -o $@

build/%/rllb_inside.o: build/%/rllb.o
	$(OBJCOPY) --redefine-sym malloc=rllb_test_malloc --redefine-sym free=rllb_test_free $< $@

$(examples): build/%: examples/%.c build/flags build/common/lib.a
	$(COMPILE) -MF build/$*.d $(WARN) $(CFLAGS) $(LINKED) $< build/common/lib.a -o $@ $(LINK)

# Programs of several files. $(1) folder in examples
define parts
build/$(1)/%.o: examples/$(1)/%.c build/flags
	@mkdir -p $$(@D)
	$$(COMPILE) -Ibuild/$(1) $$(WARN) $$(CFLAGS) $$(LINKED) -c $$< -o $$@
endef
$(foreach f,http haproxy udp,$(eval $(call parts,$(f))))

# $(1) folder, $(2) program, $(3) libraries
define program
build/$(1)/$(2): $(patsubst examples/%.c,build/%.o,$(call parts_of,$(1),$(2))) build/common/lib.a
	$$(CC) $$^ -o $$@ $(3) $$(LINK)
endef
$(foreach p,$(notdir $(http_programs)),$(eval $(call program,http,$(p),$(HTTP_LIBS))))
$(foreach p,$(notdir $(haproxy)),$(eval $(call program,haproxy,$(p))))
$(foreach p,$(notdir $(udp_curl)),$(eval $(call program,udp,$(p),$(UDP_LIBS))))
$(foreach p,$(notdir $(filter-out $(udp_curl),$(udp_programs))),$(eval $(call program,udp,$(p))))

# The operator's page as the body of a C array.
build/http/admin.o: build/http/page.inc
build/http/page.inc: examples/http/page.html
	@mkdir -p $(@D)
	od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g' > $@

# The proxy that test_http_proxy.asan starts.
build/test/http_proxy.asan: $(call parts_of,http,proxy) $(wildcard examples/http/*.h) build/http/page.inc build/flags \
                            build/common-asan/lib.a
	@mkdir -p $(@D)
	$(filter-out -MMD -MP,$(COMPILE)) -Ibuild/http $(WARN) -O1 $(ASAN) $(LINKED) $(filter %.c,$^) \
	    build/common-asan/lib.a -o $@ $(HTTP_LIBS) $(LINK)

$(filter-out build/bench_nn_nosimd,$(benches)): build/%: bench/%.c build/flags build/common/lib.a
	$(COMPILE) -MF build/$*.d $(WARN) $(CFLAGS) $< build/common/lib.a -o $@ $(LINK)

build/bench_nn_nosimd: bench/bench_nn.c build/flags build/common/lib.a
	$(COMPILE) -MF build/bench_nn_nosimd.d $(WARN) $(CFLAGS) -DRLLB_NN_NO_SIMD $< build/common/lib.a -o $@ $(LINK)

# Unit tests: with the headers optimised as a user would, under AddressSanitizer and UBSan, and under ThreadSanitizer.
# Tests themselves need not be optimised much. Instrumented code makes gcc see conversions that nobody wrote, so only
# the plain build takes warnings for errors.
# $(1) suffix, $(2) flags, $(3) flags of the library, $(4) library, $(5) programs, $(6) folder
define unit_tests
$(5): build/test/%$(1): $(6)/%.c build/flags build/$(4)/lib.a build/$(4)/rllb_inside.o | $(headers:%=build/inside/%.h)
	@mkdir -p $$(@D)
	$$(COMPILE) -Itests -MF $$@.d $$(WARN) $(2) $(3) $$(if $$(filter $$*,$$(inside)),$$(INSIDE),$$(LINKED)) \
	    $$(filter %.c %.o,$$(if $$(filter $$*,$$(inside)),$$^,$$<)) build/$(4)/lib.a \
	    -o $$@ $$(if $$(filter $$*,$$(http_tests)),$$(HTTP_LIBS)) $$(if $$(filter $$*,$$(udp_tests)),$$(UDP_LIBS)) \
	    $$(LINK)
endef
$(eval $(call unit_tests,,-Werror $$(CFLAGS) -O1,,common,$(units:%=build/test/%),tests))
$(eval $(call unit_tests,.asan,$(ASAN) $$(ASAN_LEVEL),$$(ASAN_KERNELS),common-asan,\
    $(instrumented:%=build/test/%.asan),tests))
# What runs for long is optimised, and what looks inside: without, gcc keeps private functions that nobody calls. The
# rest compiles in half the time.
ASAN_LEVEL = $(if $(filter test_balancer_model $(inside),$*),-O1,-O0)
ASAN_KERNELS = $(if $(filter %_kernels,$*),,$(GENERIC))
build/test/test_nn_kernels.asan: build/common-asan/rllb_nn_kernels.o
$(eval $(call unit_tests,.tsan,$(TSAN),$(GENERIC),common-tsan,$(threaded:%=build/test/%.tsan),tests))
# Fuzz targets with the small driver of fuzz_main.h; `make fuzz` builds them with libFuzzer.
$(eval $(call unit_tests,,-O1 $(ASAN),$(GENERIC),common-asan,$(fuzzers:%=build/test/%),tests/fuzz))

-include $(wildcard build/*.d build/*/*.d)
