# Test programs and how they are run.  Included by the Makefile.

# archives by short name
A_base := $(B)/libbase.a
A_config := $(B)/libconfig.a $(B)/libbase.a
A_wire := $(B)/libwire.a $(B)/libbase.a
A_hsm := $(B)/libhsm.a $(B)/libwire.a $(B)/libbase.a
A_store := $(B)/libstore.a $(B)/libbase.a
A_api := $(B)/libapi.a $(B)/libconfig.a $(B)/libbase.a

# $(call test_program,PATH under tests/ without .c,archives and objects,libraries)
TEST_PROGRAMS :=
define test_program
TEST_PROGRAMS += $(B)/tests/$(1)
$(B)/tests/$(1): $(B)/tests/$(1).o $(2)
	@mkdir -p $$(@D)
	$$(say) LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(ALL_LDFLAGS) $(3) -lcmocka
-include $(B)/tests/$(1).d
endef

# One line a test program, in the order of the folders they test.
$(eval $(call test_program,unit/base_text_test,$(A_base),))
$(eval $(call test_program,unit/base_system_test,$(A_base),))

# ---- targets -------------------------------------------------------------------

# Jobs for the sub-makes, unless the caller gave -j.
j = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

# The release build is there for the tests that look at what users get.
.PHONY: test
test: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) B=build/release SANITIZE= COVERAGE= FAILPOINTS= all
	$(Q)$(MAKE) --no-print-directory $(call j) FAILPOINTS=1 check

# As test, without a look at the packages; ONLY=text runs the jobs whose name contains it.
.PHONY: check check-unit check-system test-programs
check: test-programs
	$(Q)$(run_tests) $(if $(ONLY),--only '$(ONLY)') $(TEST_PROGRAMS)
check-unit: test-programs
	$(Q)$(run_tests) --no-system $(TEST_PROGRAMS)
check-system: all
	$(Q)$(run_tests) --only '$(or $(ONLY),system/)'
test-programs: all
	$(Q)$(MAKE) --no-print-directory $(TEST_PROGRAMS)
run_tests = /usr/bin/python3 tests/run.py --build $(B) --sanitize '$(SANITIZE)' --jobs $(JOBS)
