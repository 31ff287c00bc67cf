# Fuzz targets (tests/fuzz/fuzz.h).  Each is built twice: with replay.c as a test program that reads its corpus, by
# whatever compiler; and, in build/fuzz (FUZZ=1), with clang's libFuzzer.  Included by tests/tests.mk.

FUZZ_MAIN := $(if $(FUZZ),,$(B)/tests/fuzz/replay.o)
FUZZ_LIBRARY := $(if $(FUZZ),-fsanitize=fuzzer)
$(B)/tests/fuzz/replay.o: EXTRA_CFLAGS := -DFUZZ_CORPUS='"tests/fuzz/corpus"'

# $(call fuzz_target,NAME,archives and objects,libraries)
FUZZ_TARGETS :=
define fuzz_target
FUZZ_TARGETS += $(1)
TEST_PROGRAMS += $(B)/tests/fuzz/$(1)_fuzz
$(B)/tests/fuzz/$(1)_fuzz: $(B)/tests/fuzz/$(1)_fuzz.o $(FUZZ_MAIN) $(2)
	@mkdir -p $$(@D)
	$$(say) LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $(FUZZ_LIBRARY) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(ALL_LDFLAGS) $(3)
-include $(B)/tests/fuzz/$(1)_fuzz.d
endef

FUZZ_CSR := $(addprefix $(B)/hsm/signer/,csr/csr_build.o csr/csr_check.o csr/csr_verify.o key/key_kind.o key/spki.o) \
	$(B)/libossl.a
$(B)/libfuzzsigner.a: $(filter-out $(B)/hsm/signer/main.o,$(call obj,$(SIGNER_SRC)))
	$(say) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $^
FUZZ_SIGNER := $(B)/libfuzzsigner.a $(B)/libossl.a $(B)/libjournal.a $(B)/libtlog.a $(B)/libwire.a $(B)/libservice.a $(B)/libconfig.a \
	$(B)/libbase.a

$(eval $(call fuzz_target,body,$(FUZZ_CSR) $(B)/libwire.a $(A_api),$(API_LIBS)))
$(eval $(call fuzz_target,chunk,$(addprefix $(B)/,daemon/chunk.o daemon/head.o daemon/target.o api/request.o) $(A_base),))
$(eval $(call fuzz_target,config,$(A_config),$(CONFIG_LIBS)))
$(eval $(call fuzz_target,csr,$(FUZZ_CSR) $(B)/libwire.a $(A_api),$(API_LIBS)))
$(eval $(call fuzz_target,entry,$(B)/libjournal.a $(B)/libtlog.a $(B)/hsm/signer/token/state_dir.o $(A_base),-lcrypto))
$(eval $(call fuzz_target,escape,$(A_api),$(API_LIBS)))
$(eval $(call fuzz_target,frame,$(A_wire),))
$(eval $(call fuzz_target,head,$(addprefix $(B)/,daemon/head.o daemon/target.o api/request.o) $(A_base),))
$(eval $(call fuzz_target,journal,$(B)/libjournal.a $(B)/libtlog.a $(B)/hsm/signer/token/state_dir.o $(A_base),-lcrypto))
$(eval $(call fuzz_target,json,$(A_api),$(API_LIBS)))
$(eval $(call fuzz_target,live,$(B)/libjournal.a $(B)/libtlog.a $(B)/hsm/signer/token/state_dir.o $(A_base),-lcrypto))
$(eval $(call fuzz_target,message,$(A_wire),))
$(eval $(call fuzz_target,target,$(B)/daemon/target.o $(A_base),))
$(eval $(call fuzz_target,text,$(A_base),))
$(eval $(call fuzz_target,uri,$(FUZZ_SIGNER),$(SIGNER_LIBS) $(SERVICE_LIBS) $(CONFIG_LIBS)))
$(eval $(call fuzz_target,word,$(FUZZ_SIGNER),$(SIGNER_LIBS) $(SERVICE_LIBS) $(CONFIG_LIBS)))
$(addprefix $(B)/tests/fuzz/,body_fuzz.o csr_fuzz.o uri_fuzz.o word_fuzz.o): EXTRA_CFLAGS := $(P11_CFLAGS)
-include $(B)/tests/fuzz/replay.d

# FUZZ_TARGET= one or several; what is found is in build/fuzz/found/NAME, what is new in the corpus in build/fuzz/corpus.
FUZZ_SECONDS ?= 60
FUZZ_TARGET ?= $(FUZZ_TARGETS)
FUZZ_BUILD := B=build/fuzz CC=clang SANITIZE=address,undefined COVERAGE= FAILPOINTS= FUZZ=1
FUZZ_FLAGS := -O1 -g -fsanitize=fuzzer-no-link
.PHONY: fuzz fuzz-build fuzz-deps fuzz-merge fuzz-coverage
fuzz-deps:
	$(Q)sh tools/install-deps.sh fuzz
fuzz-build: fuzz-deps
	$(Q)$(MAKE) --no-print-directory $(call j) $(FUZZ_BUILD) CFLAGS='$(FUZZ_FLAGS)' \
		$(patsubst %,build/fuzz/tests/fuzz/%_fuzz,$(FUZZ_TARGET))
fuzz: fuzz-build
	$(Q)set -e; for target in $(FUZZ_TARGET); do sh tests/fuzz/run.sh fuzz $$target $(FUZZ_SECONDS); done
# Takes what was new into tests/fuzz/corpus, as few and as small files as cover the same.
fuzz-merge: fuzz-build
	$(Q)set -e; for target in $(FUZZ_TARGET); do sh tests/fuzz/run.sh merge $$target; done
# How much of the code the corpora reach, file by file.
fuzz-coverage: fuzz-deps
	$(Q)$(MAKE) --no-print-directory $(call j) B=build/fuzz-coverage CC=clang SANITIZE= COVERAGE= FAILPOINTS= \
		CFLAGS='-O1 -g -fprofile-instr-generate -fcoverage-mapping' \
		$(patsubst %,build/fuzz-coverage/tests/fuzz/%_fuzz,$(FUZZ_TARGETS))
	$(Q)sh tests/fuzz/run.sh coverage $(FUZZ_TARGETS)
