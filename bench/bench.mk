# The speed harness: make bench, bench-quick, bench-doc (doc/bench.md).
# Included by the Makefile.  It measures the release build, whatever the variant.

BENCH_PROGRAMS := $(addprefix $(B)/bench/,raw_p11 http_load bare_evhttp fake_signer)

# $(call bench_program,NAME,archives and objects,libraries)
define bench_program
$(B)/bench/$(1): $(B)/bench/$(1).o $(B)/bench/stats.o $(2)
	@mkdir -p $$(@D)
	$$(say) LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(ALL_LDFLAGS) $(3)
-include $(B)/bench/$(1).d
endef

$(eval $(call bench_program,raw_p11,$(B)/libbase.a,-ldl))
$(eval $(call bench_program,http_load,$(B)/libbase.a,))
$(eval $(call bench_program,bare_evhttp,,-levent_extra -levent_core))
$(eval $(call bench_program,fake_signer,$(B)/libwire.a $(B)/libbase.a,))
-include $(B)/bench/stats.d
$(B)/bench/raw_p11.o: EXTRA_CFLAGS := $(P11_CFLAGS)

.PHONY: bench bench-quick bench-doc bench-deps bench-programs
bench-deps:
	$(Q)sh tools/install-deps.sh bench
bench-programs: all $(BENCH_PROGRAMS) $(B)/tests/p11shim.so
# Every round, all rows, the plot: build/bench.json, build/bench.md, build/bench.svg.
bench: bench-deps
	$(Q)$(MAKE) --no-print-directory $(call j) B=build/release SANITIZE= COVERAGE= FAILPOINTS= bench-programs
	$(Q)/usr/bin/python3 bench/run.py --build build/release $(BENCH_ARGS)
# The same rows from one short round: shows that the harness works, not how fast csrd is.
bench-quick: bench-deps
	$(Q)$(MAKE) --no-print-directory $(call j) B=build/release SANITIZE= COVERAGE= FAILPOINTS= bench-programs
	$(Q)/usr/bin/python3 bench/run.py --build build/release --quick $(BENCH_ARGS)
# Puts the last full run into doc/bench.md and doc/bench.svg.
bench-doc:
	$(Q)/usr/bin/python3 bench/run.py --publish
