# Test programs and how they are run.  Included by the Makefile.

# archives by short name
A_base := $(B)/libbase.a
A_service := $(B)/libservice.a $(B)/libbase.a
A_config := $(B)/libconfig.a $(B)/libbase.a
A_wire := $(B)/libwire.a $(B)/libbase.a
A_loop := $(B)/libloop.a $(B)/libbase.a
A_tlog := $(B)/libtlog.a $(B)/libbase.a
A_hsm := $(B)/libhsm.a $(B)/libloop.a $(B)/libwire.a $(B)/libbase.a
A_store := $(B)/libstore.a $(B)/libbase.a
A_api := $(B)/libapi.a $(B)/libossl.a $(B)/libconfig.a $(B)/libbase.a

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

STORE_FAKE := $(B)/tests/contract/store_contract.o $(B)/tests/fakes/store_memory.o
-include $(STORE_FAKE:.o=.d) $(addprefix $(B)/tests/fakes/,hsm_fake.d old_rows.d)

# One line a test program, in the order of the folders they test.
$(eval $(call test_program,unit/base_text_test,$(A_base),))
$(eval $(call test_program,unit/base_json_test,$(A_base),))
$(eval $(call test_program,unit/base_system_test,$(A_base),))
$(eval $(call test_program,unit/address_test,$(A_base),))
$(eval $(call test_program,unit/key_name_test,$(A_base),))
$(eval $(call test_program,unit/metric_test,$(A_base),))
$(eval $(call test_program,unit/log_queue_test,$(A_base),))
$(eval $(call test_program,unit/thread_test,$(A_base),))
$(eval $(call test_program,unit/node_test,$(A_base),-Wl$(comma)--wrap=gethostname))
$(eval $(call test_program,unit/service_test,$(A_service),$(SERVICE_LIBS)))
$(eval $(call test_program,unit/config_test,$(A_config),$(CONFIG_LIBS)))
$(eval $(call test_program,unit/ask_test,$(B)/cli/ask.o $(A_base),))
$(eval $(call test_program,unit/conf_edit_test,$(B)/cli/conf_edit.o $(A_base),))
$(eval $(call test_program,unit/wire_test,$(A_wire),))
$(eval $(call test_program,unit/csr_build_test,$(addprefix $(B)/hsm/signer/,csr/csr_build.o csr/csr_check.o csr/csr_verify.o key/key_kind.o key/spki.o) $(B)/libossl.a $(A_base),-lcrypto))
$(eval $(call test_program,unit/stock_test,$(B)/hsm/signer/stock/stock.o $(B)/hsm/signer/key/spki.o $(B)/libossl.a $(A_wire),-lcrypto -Wl$(comma)--wrap=gethostname))
$(B)/tests/unit/stock_test.o $(B)/tests/unit/csr_build_test.o $(B)/tests/unit/weak_key_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(eval $(call test_program,unit/weak_key_test,$(B)/hsm/signer/key/weak_key.o $(B)/libossl.a $(A_base),-lcrypto))
$(eval $(call test_program,unit/ossl_memory_test,$(addprefix $(B)/hsm/signer/,csr/csr_build.o csr/csr_check.o csr/csr_verify.o key/key_kind.o key/spki.o key/weak_key.o) $(B)/api/csr_proof.o $(B)/libossl.a $(A_base),-lcrypto $(addprefix -Wl$(comma)--wrap=,malloc realloc)))
$(B)/tests/unit/ossl_memory_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
TLOG_FIXTURE := $(B)/tests/unit/tlog_fixture.o
-include $(TLOG_FIXTURE:.o=.d)
$(eval $(call test_program,unit/tlog_tree_test,$(TLOG_FIXTURE) $(A_tlog),$(TLOG_LIBS)))
$(eval $(call test_program,unit/tlog_note_test,$(TLOG_FIXTURE) $(A_tlog),$(TLOG_LIBS)))
$(eval $(call test_program,unit/tlog_canonical_test,$(A_tlog),$(TLOG_LIBS)))
$(eval $(call test_program,unit/timer_test,$(A_loop),-levent_core))
$(eval $(call test_program,unit/hsm_link_test,$(A_hsm),$(HSM_LIBS)))
$(eval $(call test_program,unit/api_json_test,$(B)/libapi.a $(A_base),$(API_LIBS)))
$(eval $(call test_program,unit/api_credential_test,$(B)/libapi.a $(A_base),$(API_LIBS)))
$(eval $(call test_program,unit/limit_test,$(B)/libapi.a $(A_base),$(API_LIBS) -Wl$(comma)--wrap=clock_ns))
$(eval $(call test_program,unit/api_route_test,$(B)/tests/fakes/hsm_fake.o $(B)/libapi.a $(A_store),$(API_LIBS) $(STORE_LIBS)))
$(eval $(call test_program,unit/api_validate_test,$(B)/libapi.a $(A_base),$(API_LIBS)))
$(eval $(call test_program,unit/policy_test,$(B)/libapi.a $(B)/libstore.a $(A_base),$(API_LIBS) $(STORE_LIBS)))
$(eval $(call test_program,unit/api_handler_test,$(B)/tests/fakes/hsm_fake.o $(B)/tests/fakes/old_rows.o $(B)/tests/fakes/store_memory.o $(B)/libapi.a $(A_store),$(API_LIBS) $(STORE_LIBS) -Wl$(comma)--wrap=clock_wall_us$(comma)--wrap=EVP_Digest))
$(eval $(call test_program,contract/store_sqlite_test,$(B)/tests/contract/store_contract.o $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,contract/store_load_test,$(B)/tests/contract/store_contract.o $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,contract/store_place_test,$(B)/tests/contract/store_contract.o $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,contract/store_walk_test,$(B)/tests/contract/store_contract.o $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,unit/store_queue_test,$(STORE_FAKE) $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,unit/sql_text_test,$(A_store),$(STORE_LIBS)))
$(eval $(call test_program,unit/store_migrate_test,$(A_store),$(STORE_LIBS)))
$(eval $(call test_program,unit/settle_test,$(B)/tests/fakes/hsm_fake.o $(B)/tests/fakes/old_rows.o $(B)/tests/fakes/store_memory.o $(B)/libapi.a $(B)/libossl.a $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,unit/key_list_test,$(B)/libapi.a $(B)/libossl.a $(A_base),))
$(eval $(call test_program,unit/reconcile_test,$(B)/tests/fakes/old_rows.o $(B)/libapi.a $(B)/libossl.a $(A_store),$(STORE_LIBS)))
$(eval $(call test_program,unit/reconciler_test,$(B)/daemon/reconciler.o $(B)/libloop.a $(A_store),-levent_core))
$(eval $(call test_program,unit/confirm_test,$(B)/daemon/confirm.o $(B)/tests/fakes/hsm_fake.o $(B)/libloop.a $(A_base),-levent_core))
$(eval $(call test_program,unit/vouch_test,$(B)/daemon/vouch.o $(B)/tests/fakes/store_memory.o $(B)/libloop.a $(A_store),$(STORE_LIBS) -levent_core))
$(eval $(call test_program,unit/notify_test,$(B)/daemon/notify.o $(B)/tests/fakes/hsm_fake.o $(B)/tests/fakes/store_memory.o $(B)/libloop.a $(B)/libwire.a $(B)/libstore.a $(B)/libservice.a $(B)/libbase.a,$(SERVICE_LIBS) $(STORE_LIBS) -levent_core))
$(eval $(call test_program,unit/head_test,$(B)/daemon/head.o $(B)/daemon/target.o $(B)/api/request.o $(A_base),))
$(eval $(call test_program,unit/forwarded_test,$(B)/daemon/forwarded.o $(B)/daemon/head.o $(B)/daemon/target.o $(B)/api/request.o $(A_base),))
$(eval $(call test_program,unit/proxy_test,$(B)/daemon/proxy.o $(A_base),))
$(eval $(call test_program,unit/chunk_test,$(B)/daemon/chunk.o $(B)/daemon/head.o $(B)/daemon/target.o $(B)/api/request.o $(A_base),))

$(eval $(call test_program,unit/pin_guard_test,$(addprefix $(B)/hsm/signer/,token/pin_guard.o token/state_dir.o) $(A_base),-lcrypto))
$(eval $(call test_program,unit/login_test,$(addprefix $(B)/hsm/signer/,token/login.o token/pin_guard.o token/state_dir.o token/token_info.o token/ckr.o) $(A_base),-lcrypto -Wl$(comma)--wrap=clock_ms$(comma)--wrap=clock_wall_us))
$(B)/tests/unit/login_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(eval $(call test_program,unit/judge_test,$(addprefix $(B)/hsm/signer/,token/gate.o token/judge.o token/ckr.o token/remains.o) $(B)/tests/fakes/session_fake.o $(A_base),-Wl$(comma)--wrap=clock_ms))
$(B)/tests/unit/judge_test.o $(B)/tests/fakes/session_fake.o: EXTRA_CFLAGS := $(P11_CFLAGS)
-include $(B)/tests/fakes/session_fake.d
$(eval $(call test_program,unit/gate_test,$(addprefix $(B)/hsm/signer/token/,gate.o remains.o watchdog.o) $(B)/tests/fakes/session_fake.o $(A_base),-Wl$(comma)--wrap=clock_ms))
JOURNAL_TEST_LINK := $(B)/tests/unit/journal_fixture.o $(B)/libjournal.a $(B)/hsm/signer/token/state_dir.o $(A_tlog)
JOURNAL_TEST_LIBS := -lcrypto $(addprefix -Wl$(comma)--wrap=,clock_wall_us fchmod fdatasync fsync ftruncate mkdirat openat pwrite renameat write)
$(eval $(call test_program,unit/journal_test,$(JOURNAL_TEST_LINK),$(JOURNAL_TEST_LIBS)))
$(eval $(call test_program,unit/journal_disk_test,$(JOURNAL_TEST_LINK),$(JOURNAL_TEST_LIBS)))
-include $(B)/tests/unit/journal_fixture.d
$(B)/tests/unit/gate_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(eval $(call test_program,unit/job_queue_test,$(addprefix $(B)/hsm/signer/serve/,job.o job_queue.o) $(B)/libwire.a $(A_base),))
$(B)/tests/unit/job_queue_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(eval $(call test_program,unit/module_file_test,$(B)/hsm/signer/token/module_file.o $(A_base),))
$(eval $(call test_program,unit/outage_test,$(addprefix $(B)/hsm/signer/,serve/outage.o token/state_dir.o) $(A_base),))
$(eval $(call test_program,unit/watchdog_test,$(B)/hsm/signer/token/watchdog.o $(A_base),-Wl$(comma)--wrap=clock_ms))

P11SHIM_PROFILES := $(patsubst tests/p11shim/%,$(B)/tests/%,$(wildcard tests/p11shim/profiles/*.rules))
SIGNER_TEST_OBJ := $(B)/tests/contract/signer_client.o $(B)/tests/contract/signer_fixture.o $(B)/tests/contract/swtpm.o \
	$(addprefix $(B)/tests/contract/,kryoptic.o opencryptoki.o own_places.o p11kit.o) \
	$(addprefix $(B)/hsm/signer/,token/token_info.o token/ckr.o)
$(eval $(call test_program,contract/signer_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_test.o $(SIGNER_TEST_OBJ): EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_tpm_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_tpm_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_tpm_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_p11kit_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_p11kit_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_p11kit_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_opencryptoki_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_opencryptoki_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_opencryptoki_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_proxy_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_proxy_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_proxy_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_keys_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_keys_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_keys_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_pool_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_pool_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_pool_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_repair_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_repair_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_repair_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_gone_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_gone_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_gone_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_session_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_session_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_session_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
$(eval $(call test_program,contract/signer_profile_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_profile_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_profile_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so $(P11SHIM_PROFILES)
$(eval $(call test_program,contract/signer_kryoptic_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_kryoptic_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_kryoptic_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so
TEST_PROGRAMS := $(filter-out %/signer_kryoptic_test,$(TEST_PROGRAMS)) # make test-kryoptic
-include $(SIGNER_TEST_OBJ:.o=.d)

include tests/fuzz/fuzz.mk

# ---- targets -------------------------------------------------------------------

# Jobs for the sub-makes, unless the caller gave -j.
j = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

# The release build is there for the tests that look at what users get.
.PHONY: test
test: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) B=build/release SANITIZE= COVERAGE= FAILPOINTS= all
	$(Q)$(MAKE) --no-print-directory $(call j) FAILPOINTS=1 check

# Ends with the make that started it, however that ends.
bound = exec setpriv --pdeathsig KILL -- env

# The same in a root directory of Debian 13; ONLY=text,text: those jobs alone, without a look at the packages.  This
# machine's part is the root and the SDK: in there is no network.
.PHONY: test-debian13
test-debian13: test-deps
	$(Q)sh tools/install-deps.sh debian13
	$(Q)cd tests/system && PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c 'import sdk_test; sdk_test.install()'
	$(Q)$(bound) tests/debian13 run make $(if $(ONLY),-j$(JOBS) check FAILPOINTS=1 ONLY='$(ONLY)',test)

# What CI does of it: csrd and its package are built there, the test programs run, and the package is lived with.
.PHONY: test-debian13-core
test-debian13-core:
	$(Q)sh tools/install-deps.sh debian13
	$(Q)$(bound) DEBIAN13_FOR=core tests/debian13 run make -j$(JOBS) check FAILPOINTS=1 ONLY=unit/,contract/,system/package_test

# The signer's contract on kryoptic, a module in Rust: it is built of crates, which are fetched, and wants Debian 13's
# OpenSSL.
.PHONY: test-kryoptic
test-kryoptic:
	$(Q)sh tools/install-deps.sh debian13
	$(Q)$(bound) DEBIAN13_FOR=core tests/debian13 online sh tools/install-deps.sh kryoptic
	$(Q)$(bound) DEBIAN13_FOR=core tests/debian13 online make kryoptic
	$(Q)$(bound) DEBIAN13_FOR=core tests/debian13 run make -j$(JOBS) check-kryoptic FAILPOINTS=1

KRYOPTIC := build/kryoptic/release/libkryoptic_pkcs11.so
$(KRYOPTIC): $(addprefix tests/kryoptic/,build.sh Cargo.toml crates.lock lib.rs)
	$(Q)sh $< build/kryoptic
	$(Q)touch $@
.PHONY: kryoptic check-kryoptic
kryoptic: $(KRYOPTIC)
check-kryoptic: $(addprefix $(B)/tests/contract/,signer_kryoptic_test signer_keys_test) $(KRYOPTIC)
	$(Q)CSRD_KRYOPTIC=$(abspath $(KRYOPTIC)) $(run_tests) --no-system $(filter %_test,$^)

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

# What is slow and looks at what changes seldom (tests/run.py, "rare").
.PHONY: test-rare
test-rare: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) FAILPOINTS=1 test-programs
	$(Q)$(MAKE) --no-print-directory FAILPOINTS=1 check-rare
.PHONY: check-rare
check-rare: test-programs
	$(Q)$(run_tests) --rare $(TEST_PROGRAMS)

# For tools/lint.sh: how a file is compiled.
.PHONY: print-flags
print-flags:
	@printf '%s\n' '$(subst ','\'',$(ALL_CPPFLAGS) $(ALL_CFLAGS) $(P11_CFLAGS))'

# ---- the PKCS#11 module that misbehaves on order ---------------------------------

# Without sanitizers and coverage whatever the variant, so that any program can load it.
P11SHIM_OBJ := $(patsubst %,$(B)/tests/p11shim/%.pic.o,call fake module names p11shim rules rules_parse session setting \
	state template trace words)
P11SHIM_CFLAGS := -std=gnu11 -pthread $(WARNINGS) $(filter-out -fPIE,$(HARDENING)) -fPIC -fvisibility=hidden \
	$(CFLAGS) $(P11_CFLAGS)

$(P11SHIM_OBJ): $(B)/%.pic.o: %.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(P11SHIM_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/p11shim.so: $(P11SHIM_OBJ)
	$(say) LD $@
	$(Q)$(CC) -shared -pthread -Wl,-soname,libcsrd-p11shim.so -Wl,-z,defs -Wl,-z,nodelete $(filter-out -pie,$(HARDENING_LD)) \
		$(LDFLAGS) -o $@ $^ -ldl
-include $(P11SHIM_OBJ:.o=.d)

# Where the tests find them: beside the shim.
$(P11SHIM_PROFILES): $(B)/tests/profiles/%: tests/p11shim/profiles/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

P11SHIM_TEST_OBJ := $(B)/tests/contract/p11shim_fixture.o
$(eval $(call test_program,contract/p11shim_test,$(P11SHIM_TEST_OBJ),-lp11 -ldl))
$(eval $(call test_program,contract/p11shim_token_test,$(P11SHIM_TEST_OBJ),-ldl))
$(addprefix $(B)/tests/contract/,p11shim_test.o p11shim_token_test.o) $(P11SHIM_TEST_OBJ): EXTRA_CFLAGS := $(P11_CFLAGS)
$(addprefix $(B)/tests/contract/,p11shim_test p11shim_token_test): | $(B)/tests/p11shim.so
-include $(P11SHIM_TEST_OBJ:.o=.d)
test-programs check-system: $(B)/tests/p11shim.so

# ---- csrd-hsm under load, over a module of ours -----------------------------------

# Instrumented like the program that loads it.
$(B)/tests/fakes/p11_fake.so: tests/fakes/p11_fake.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -shared $(ALL_CPPFLAGS) $(filter-out -fPIE,$(ALL_CFLAGS)) -fPIC $(P11_CFLAGS) -o $@ $< \
		$(filter-out -pie,$(ALL_LDFLAGS)) -lcrypto

$(eval $(call test_program,contract/signer_load_test,$(SIGNER_TEST_OBJ) $(A_wire),-lcrypto -ldl))
$(B)/tests/contract/signer_load_test.o: EXTRA_CFLAGS := $(P11_CFLAGS)
$(B)/tests/contract/signer_load_test: | $(B)/bin/csrd-hsm $(B)/tests/p11shim.so $(B)/tests/fakes/p11_fake.so

# Races of the signer's threads, and of the store's.  The module is the fake one: foreign modules are not instrumented.
.PHONY: tsan
tsan: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) SANITIZE=thread FAILPOINTS= COVERAGE= tsan-check
.PHONY: tsan-check
tsan-check: $(B)/tests/contract/signer_load_test $(B)/tests/contract/store_load_test
	$(Q)$(run_tests) --no-system $^

# ---- helpers of the system tests --------------------------------------------------

# Not instrumented: it is loaded before everything else.
$(B)/tests/fakes/clock_ahead.so: tests/fakes/clock_ahead.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -shared $(ALL_CPPFLAGS) $(filter-out -fPIE -fsanitize=%,$(ALL_CFLAGS)) -fPIC -o $@ $<

# Without sanitizers: it runs other programs under a filter.
$(B)/tests/fakes/no_fork: tests/fakes/no_fork.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 $(WARNINGS) $(CFLAGS) -D_GNU_SOURCE -o $@ $<
test-programs check-system: $(B)/tests/fakes/no_fork $(B)/tests/fakes/clock_ahead.so

# Without sanitizers: it is preloaded.
$(B)/tests/fakes/refuse_calls.so: tests/fakes/refuse_calls.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 $(WARNINGS) $(CFLAGS) -D_GNU_SOURCE -fPIC -shared -o $@ $<
test-programs check-system: $(B)/tests/fakes/refuse_calls.so

# The same.
$(B)/tests/fakes/no_memory.so: tests/fakes/no_memory.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 $(WARNINGS) $(CFLAGS) -D_GNU_SOURCE -fPIC -shared -o $@ $< -ldl
test-programs check-system: $(B)/tests/fakes/no_memory.so

# What tlog/ computes, for verifiers in other languages (tests/system/tlog_test.py).
$(B)/tests/tlog/tlog_say: $(B)/tests/tlog/tlog_say.o $(TLOG_FIXTURE) $(A_tlog)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(TLOG_LIBS)
-include $(B)/tests/tlog/tlog_say.d
test-programs check-system: $(B)/tests/tlog/tlog_say

# man_test.py reads them as they are installed.
test-programs check-system: man

# kill -9 of the signer, again and again; a round takes about half a second.
.PHONY: test-kills
test-kills: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) FAILPOINTS=1 test-programs
	$(Q)CSRD_KILLS=$(or $(KILLS),1000) CSRD_CRASH_ROUNDS=20 $(MAKE) --no-print-directory FAILPOINTS=1 check-system \
		ONLY=system/fault_kill_test,system/crash_,system/pool_test

# Memory that runs out at every place of a request, and at a third of those of a start: ten minutes.
.PHONY: test-memory
test-memory: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) FAILPOINTS=1 test-programs
	$(Q)$(MAKE) --no-print-directory FAILPOINTS=1 check-system ONLY=system/no_memory

# 500 bad clients of each kind around csrd, and a table of how it was; half a minute of it is part of "make test-rare".
# The versions are those of requirements.txt; Debian 12 has neither program.
.PHONY: schemathesis
schemathesis: test-deps
	$(Q)sh tools/install-deps.sh schemathesis
	$(Q)$(MAKE) --no-print-directory FAILPOINTS=1 all
	$(Q)[ -x build/schemathesis/bin/st ] || /usr/bin/python3 -m venv build/schemathesis
	$(Q)build/schemathesis/bin/pip install --quiet --requirement tests/schemathesis/requirements.txt
	$(Q)/usr/bin/python3 tests/schemathesis/run.py build/schemathesis $(or $(SCHEMATHESIS_SECONDS),600)

.PHONY: abuse
abuse: test-deps
	$(Q)$(MAKE) --no-print-directory $(call j) FAILPOINTS=1 all
	$(Q)CSRD_ABUSE_SECONDS=$(or $(ABUSE_SECONDS),600) /usr/bin/python3 tests/run.py --unittest tests/system/abuse_test.py
