# csrd: one Makefile, not recursive.  `make help` lists the targets.
#
# Respected from outside: CC CFLAGS CPPFLAGS LDFLAGS DESTDIR PREFIX V=1
# Variants build beside each other under build/: SANITIZE=address,undefined,
# SANITIZE=thread, COVERAGE=1, FAILPOINTS=1 (tests only), WERROR=1.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
DOCDIR ?= $(PREFIX)/share/doc/csrd
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/vendor-completions
RUN_DIR ?= run
PORT ?= 8080
V ?= 0
JOBS ?= 2

VERSION := 0.1.0

# ---- variant and flags -------------------------------------------------------

comma := ,
VARIANT := $(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)),$(if $(COVERAGE),coverage,release))$(if $(FAILPOINTS),-failpoints)
B := build/$(VARIANT)

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wundef -Wold-style-definition $(if $(WERROR),-Werror)
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -fno-strict-overflow \
	$(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
HARDENING_LD := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed
ALL_CPPFLAGS := -I. -I$(B)/gen -D_GNU_SOURCE -DCSRD_VERSION='"$(VERSION)"' $(if $(FAILPOINTS),-DCSRD_FAILPOINTS) \
	$(if $(SANITIZE)$(COVERAGE),-DCSRD_INSTRUMENTED) $(CPPFLAGS)
ALL_CFLAGS := -std=gnu11 -pthread $(WARNINGS) $(HARDENING) $(CFLAGS) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(COVERAGE),--coverage)
ALL_LDFLAGS := -pthread $(HARDENING_LD) $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(if $(COVERAGE),--coverage)

pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
P11_CFLAGS := $(call pkg,--cflags,p11-kit-1)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-5s %s\n'
endif

# ---- what is built -----------------------------------------------------------

BASE_SRC := base/address.c base/buf.c base/clock.c base/csr.c base/err.c base/exit_code.c base/failpoint.c base/fd.c base/identity.c base/json.c base/key.c base/key_label.c base/key_name.c base/log.c \
	base/log_queue.c base/metric.c base/node.c base/published.c base/random.c base/secret.c base/str.c base/thread.c base/url.c base/utf8.c base/uuid.c
SERVICE_SRC := systemd/service.c systemd/journald.c
TLS_SRC := tls/tls_clients.c tls/tls_identity.c tls/tls_name.c
OSSL_SRC := ossl/ossl_memory.c
CONFIG_SRC := config/config.c config/config_table.c
WIRE_SRC := hsm/wire.c hsm/frame.c hsm/message.c
LOOP_SRC := loop/timer.c
HSM_SRC := hsm/hsm.c hsm/hsm_call.c hsm/hsm_link.c
TLOG_SRC := $(addprefix tlog/,base64.c canonical.c checkpoint.c lines.c log_entry.c note.c note_key.c proof.c proof_make.c tile.c \
	tlog_proof.c tree.c tree_hash.c)
STORE_SRC := store/audit.c store/csr.c store/csr_list.c store/csr_row.c store/directory.c store/fence.c store/idempotency.c store/identity.c \
	store/lineage.c store/migrate.c store/call.c store/policy.c store/principal.c store/principal_care.c store/queue.c store/record.c store/sql.c \
	store/sql_text.c store/store.c store/store_url.c store/upkeep.c store/walk.c \
	$(addprefix store/sqlite/,sqlite.c sqlite_backup.c sqlite_check.c sqlite_file.c sqlite_open.c sqlite_place.c \
	sqlite_restore.c)
API_SRC := api/api.c api/auth.c api/bucket.c api/country.c api/credential.c api/csr_create.c api/csr_delete.c api/csr_judge.c api/csr_make.c api/csr_proof.c api/csr_read.c \
	api/csr_json.c api/health.c api/json.c api/key_list.c api/limit.c api/media.c api/note.c api/op.c api/openapi.c api/openapi_path.c api/openapi_schema.c api/page.c api/policy.c api/policy_cache.c api/policy_judge.c api/precondition.c api/problem.c api/query.c api/reply.c \
	api/reconcile.c api/reconcile_compare.c api/reconcile_doubt.c api/reconcile_settle.c api/reconcile_unsettled.c \
	api/request.c api/route.c api/settle.c api/san.c api/san_host.c api/san_public.c api/san_suffixes.c api/san_uri.c api/token_verify.c api/use.c api/validate.c \
	api/wait.c
DAEMON_SRC := daemon/main.c daemon/answer.c daemon/chunk.c daemon/confirm.c daemon/conn.c daemon/conn_host.c daemon/conn_set.c daemon/figures.c daemon/forwarded.c daemon/head.c daemon/http.c \
	daemon/inherited.c daemon/listen.c daemon/listen_socket.c daemon/metrics.c daemon/notify.c daemon/process.c daemon/proxy.c daemon/reconciler.c daemon/reload.c daemon/running.c daemon/target.c daemon/tls.c daemon/tls_client.c daemon/tls_ticket.c daemon/traffic.c daemon/turn.c daemon/vouch.c
JOURNAL_SRC := $(addprefix hsm/signer/journal/,bundle.c entry.c journal.c journal_open.c journal_steps.c live.c names.c tail.c)
SIGNER_SRC := hsm/signer/main.c \
	$(addprefix hsm/signer/token/,ckr.c data_object.c gate.c guard.c judge.c login.c module.c module_file.c object.c \
	pin_guard.c quirks.c remains.c served.c session.c state_dir.c token_info.c watchdog.c) \
	$(addprefix hsm/signer/key/,inventory.c key.c key_inspect.c key_kind.c key_map.c probe.c \
	probe_memory.c public_key.c sign.c spki.c weak_key.c) \
	$(addprefix hsm/signer/csr/,csr_build.c csr_check.c csr_verify.c) \
	$(addprefix hsm/signer/stock/,book.c book_start.c stock.c stock_fill.c stock_key.c word.c) \
	$(addprefix hsm/signer/serve/,clerk.c connection.c ending.c in_force.c inspect.c job.c job_queue.c listener.c notify.c \
	operation.c outage.c server.c stores.c worker.c workers.c)
CLI_SRC := cli/csrctl.c cli/cmd_backup.c cli/cmd_config.c cli/cmd_restore.c cli/cmd_verify.c cli/digest.c cli/finding.c cli/progress.c cli/summary.c cli/uri_check.c \
	cli/arg.c cli/cli.c cli/cmd_account.c cli/cmd_completion.c cli/cmd_csr.c cli/cmd_doctor.c cli/cmd_policy.c cli/cmd_policy_test.c cli/cmd_pool.c cli/cmd_principal.c cli/cmd_reconcile.c \
	cli/cmd_status.c cli/doctor.c cli/doctor_files.c cli/doctor_signer.c cli/doctor_store.c cli/doctor_system.c cli/doctor_tls.c cli/doctor_token.c cli/help.c cli/loop.c cli/output.c cli/readyz.c cli/signer_status.c
CLI_SRC += cli/ask.c cli/cmd_setup.c cli/policy_input.c cli/conf_edit.c cli/file.c cli/setup_account.c cli/setup_conf.c cli/setup_pin.c cli/setup_port.c \
	cli/setup_softhsm.c cli/setup_units.c cli/spawn.c
CLI_SRC += cli/arg_identity.c cli/cmd_identity.c cli/audit_output.c cli/each.c cli/doctor_running.c cli/in_force.c cli/cmd_principal_create.c cli/cmd_quota.c cli/principal_words.c cli/pkcs11_tool.c cli/running.c cli/sandbox.c cli/cmd_account_set.c cli/cmd_audit.c cli/cmd_csr_delete.c cli/cmd_csr_list.c cli/csr_output.c cli/names.c cli/output_table.c cli/terminal.c

BASE_LIBS :=
SERVICE_LIBS := -lsystemd
CONFIG_LIBS := -linih
STORE_LIBS := -lsqlite3
HSM_LIBS := -levent_core
API_LIBS := -ljson-c -lcrypto -lpsl -lidn2
TLS_LIBS := -lcrypto
TLOG_LIBS := -lcrypto
DAEMON_LIBS := -levent_openssl -levent_core -lssl
SIGNER_LIBS := -lp11 -lp11-kit -lcrypto -ldl

ALL_SRC := $(BASE_SRC) $(SERVICE_SRC) $(CONFIG_SRC) $(WIRE_SRC) $(LOOP_SRC) $(TLOG_SRC) $(HSM_SRC) $(STORE_SRC) $(API_SRC) $(TLS_SRC) $(OSSL_SRC) $(DAEMON_SRC) $(SIGNER_SRC) $(JOURNAL_SRC) $(CLI_SRC)
obj = $(patsubst %.c,$(B)/%.o,$(1))

PROGRAMS := $(B)/bin/csrd $(B)/bin/csrd-hsm $(B)/bin/csrctl

.PHONY: all
all: $(PROGRAMS)

# A changed compiler or flag rebuilds everything of the variant.
FLAGS_NOW := $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(B)/flags.stamp: FORCE
	@mkdir -p $(B)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' >$@
.PHONY: FORCE
FORCE:

$(B)/%.o: %.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

$(call obj,$(SIGNER_SRC)): EXTRA_CFLAGS := $(P11_CFLAGS)

define archive
$(B)/lib$(1).a: $(call obj,$(2))
	$$(say) AR $$@
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(eval $(call archive,base,$(BASE_SRC)))
$(eval $(call archive,service,$(SERVICE_SRC)))
$(eval $(call archive,config,$(CONFIG_SRC)))
$(eval $(call archive,wire,$(WIRE_SRC)))
$(eval $(call archive,journal,$(JOURNAL_SRC)))
$(eval $(call archive,loop,$(LOOP_SRC)))
$(eval $(call archive,hsm,$(HSM_SRC)))
$(eval $(call archive,store,$(STORE_SRC)))
$(eval $(call archive,api,$(API_SRC)))
$(eval $(call archive,tls,$(TLS_SRC)))
$(eval $(call archive,ossl,$(OSSL_SRC)))
$(eval $(call archive,tlog,$(TLOG_SRC)))

link = $(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(ALL_LDFLAGS)

$(B)/bin/csrd: $(call obj,$(DAEMON_SRC)) $(B)/libtls.a $(B)/libapi.a $(B)/libossl.a $(B)/libhsm.a $(B)/libloop.a $(B)/libwire.a $(B)/libstore.a $(B)/libservice.a $(B)/libconfig.a $(B)/libbase.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(DAEMON_LIBS) $(API_LIBS) $(HSM_LIBS) $(STORE_LIBS) $(SERVICE_LIBS) $(CONFIG_LIBS)

$(B)/bin/csrd-hsm: $(call obj,$(SIGNER_SRC)) $(B)/libossl.a $(B)/libjournal.a $(B)/libtlog.a $(B)/libwire.a $(B)/libservice.a $(B)/libconfig.a $(B)/libbase.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(SIGNER_LIBS) $(SERVICE_LIBS) $(CONFIG_LIBS)

$(B)/bin/csrctl: $(call obj,$(CLI_SRC)) $(B)/libtls.a $(B)/libapi.a $(B)/libossl.a $(B)/libhsm.a $(B)/libloop.a $(B)/libwire.a $(B)/libstore.a $(B)/libconfig.a $(B)/libbase.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(API_LIBS) $(HSM_LIBS) $(STORE_LIBS) $(CONFIG_LIBS)

# Schema files are embedded: store/schema/NNN_name.sql → one generated table.
SCHEMA := $(sort $(wildcard store/schema/[0-9][0-9][0-9]_*.sql))
$(B)/gen/store_schema.inc: $(SCHEMA) tools/embed_schema.sh $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) GEN $@
	$(Q)sh tools/embed_schema.sh $(SCHEMA) >$@.tmp && mv $@.tmp $@
$(B)/store/migrate.o: $(B)/gen/store_schema.inc

# The frame of the OpenAPI document: one line of JSON, as a string of C.
$(B)/gen/openapi_frame.inc: api/openapi.json $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) GEN $@
	$(Q)sed -e 's/^ *//' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/"&"/' $< >$@.tmp && mv $@.tmp $@
$(B)/api/openapi.o: $(B)/gen/openapi_frame.inc

# What each code point is to a reader, from libunistring.  The program that writes it runs here, whatever is built for.
BUILD_CC ?= $(CC)
$(B)/gen/utf8_class_table: tools/utf8_class_table.c $(B)/flags.stamp
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(BUILD_CC) -std=gnu11 $(WARNINGS) -O2 -o $@ $< -lunistring
$(B)/gen/utf8_class.inc: $(B)/gen/utf8_class_table
	$(say) GEN $@
	$(Q)$< >$@.tmp && mv $@.tmp $@
$(B)/base/utf8.o: $(B)/gen/utf8_class.inc

-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRC)))

# ---- tests -------------------------------------------------------------------

# Every tests/unit/NAME_test.c and tests/contract/NAME_test.c is one cmocka
# program.  What it links beside cmocka: TEST_NAME_LINK (archives and objects)
# and TEST_NAME_LIBS.
include tests/tests.mk

include bench/bench.mk

# ---- the rest ----------------------------------------------------------------

.PHONY: run
run: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)exec tools/run.sh $(B)/bin '$(RUN_DIR)' '$(PORT)'

.PHONY: deps test-deps deb-deps
deps:
	$(Q)sh tools/install-deps.sh run
test-deps:
	$(Q)sh tools/install-deps.sh test
deb-deps:
	$(Q)sh tools/install-deps.sh deb

.PHONY: lint
lint: test-deps
	$(Q)sh tools/lint.sh

.PHONY: format
format: test-deps
	$(Q)sh tools/lint.sh --mend

# doc/openapi.json is what csrd serves with the defaults; a test holds it against the program.
$(B)/tools/openapi: $(B)/tools/openapi.o $(B)/libapi.a $(B)/libhsm.a $(B)/libloop.a $(B)/libwire.a $(B)/libstore.a $(B)/libconfig.a $(B)/libbase.a
	$(say) LD $@
	$(Q)$(link) $(API_LIBS) $(HSM_LIBS) $(STORE_LIBS) $(CONFIG_LIBS)
.PHONY: openapi
openapi: $(B)/tools/openapi
	$(Q)$< | python3 -m json.tool --no-ensure-ascii --indent 1 >doc/openapi.json.tmp && mv doc/openapi.json.tmp doc/openapi.json

# csrd.conf(5) has the text of config/csrd.conf.  Without scdoc there are no pages.
MAN_PAGES := $(if $(shell command -v scdoc),$(addprefix $(B)/man/,csrd.8 csrd-hsm.8 csrctl.1 csrd.conf.5))
$(B)/man/%: doc/man/%.scd doc/man/exit_status.inc config/csrd.conf tools/man.awk
	@mkdir -p $(@D)
	$(say) MAN $@
	$(Q)awk -v version='$(VERSION)' -f tools/man.awk $< >$@.scd && scdoc <$@.scd >$@.tmp && mv $@.tmp $@
.PHONY: man
man: $(MAN_PAGES)

# Units are installed as they stand but for the folder of the programs, and for
# what the systemd of the build does not know.  The configuration is made by
# "csrctl setup", of the sample in $(PREFIX)/share/csrd.
SYSTEMD_VERSION := $(firstword $(subst ., ,$(call pkg,--modversion,libsystemd)) 0)
FIT_UNIT := -e 's,/usr/sbin/csrd,$(SBINDIR)/csrd,g' \
	$(shell [ '$(SYSTEMD_VERSION)' -ge 254 ] || echo -e /^RestartMode=/d)
INSTALL_BIN := $(DESTDIR)$(BINDIR)
INSTALL_SBIN := $(DESTDIR)$(SBINDIR)
INSTALL_DOC := $(DESTDIR)$(DOCDIR)
INSTALL_DATA := $(DESTDIR)$(PREFIX)/share/csrd
.PHONY: install install-units
install: all man install-units
	install -d $(INSTALL_BIN) $(INSTALL_SBIN) $(INSTALL_DATA) $(INSTALL_DOC)/examples \
		$(addprefix $(DESTDIR),$(BASHCOMPDIR) $(ZSHCOMPDIR))
	install -m 0755 $(B)/bin/csrd $(B)/bin/csrd-hsm $(INSTALL_SBIN)
	install -m 0755 $(B)/bin/csrctl $(INSTALL_BIN)
	install -m 0644 config/csrd.conf $(INSTALL_DATA)
	set -e; for page in $(MAN_PAGES); do \
		install -D -m 0644 "$$page" $(DESTDIR)$(MANDIR)/man"$${page##*.}"/"$${page##*/}"; \
	done
	$(B)/bin/csrctl completion bash >$(DESTDIR)$(BASHCOMPDIR)/csrctl
	$(B)/bin/csrctl completion zsh >$(DESTDIR)$(ZSHCOMPDIR)/_csrctl
	chmod 0644 $(DESTDIR)$(BASHCOMPDIR)/csrctl $(DESTDIR)$(ZSHCOMPDIR)/_csrctl
	install -m 0644 README.md LICENSE $(wildcard doc/*.md doc/*.json doc/*.svg doc/*.png) $(INSTALL_DOC)
	install -m 0644 $(wildcard systemd/examples/*.conf) config/csrd.conf $(INSTALL_DOC)/examples
	install -D -m 0644 -t $(INSTALL_DOC)/containers $(wildcard doc/containers/*)
	install -D -m 0644 -t $(INSTALL_DOC)/monitoring $(wildcard doc/monitoring/*)

install-units:
	install -d $(addprefix $(DESTDIR),$(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR))
	set -e; for unit in $(wildcard systemd/*.service systemd/*.socket systemd/*.target); do \
		sed $(FIT_UNIT) "$$unit" >$(DESTDIR)$(UNITDIR)/"$${unit#systemd/}"; \
		chmod 0644 $(DESTDIR)$(UNITDIR)/"$${unit#systemd/}"; \
	done
	install -m 0644 systemd/csrd.sysusers $(DESTDIR)$(SYSUSERSDIR)/csrd.conf
	install -m 0644 systemd/csrd.tmpfiles $(DESTDIR)$(TMPFILESDIR)/csrd.conf

# csrd_VERSION_ARCH.deb and csrd-dbgsym_… in build/deb.
.PHONY: deb
deb: deb-deps
	$(Q)sh tools/build-deb.sh '$(VERSION)' build/deb

.PHONY: clean
clean:
	rm -rf build

.PHONY: help
help:
	@printf '%s\n' \
	'make                 build csrd, csrd-hsm and csrctl (build/release/bin)' \
	'make run             install what is missing, build, and run a whole service on SoftHSM (RUN_DIR=run PORT=8080)' \
	'make test            install what the tests need, build the test variant, run the tests' \
	'make test SANITIZE=address,undefined    the same under sanitizers' \
	'make test-debian13   everything in a root directory of Debian 13, which is made once (tests/debian13)' \
	'make test-kryoptic   the signer on kryoptic, a module that cargo fetches and builds, in that root' \
	'make test-rare       the tests that are slow and look at what changes seldom' \
	'make tsan            the signer under load, and the store with its readers, with ThreadSanitizer' \
	'make test-kills      kill -9 of the signer, KILLS=1000 times under load, and 20 times at each failpoint of both' \
	'make test-memory     memory that runs out at every call of a request' \
	'make fuzz            libFuzzer for FUZZ_SECONDS=60 on each FUZZ_TARGET=, with clang' \
	'make abuse           500 bad clients of each kind around csrd for ABUSE_SECONDS=600' \
	'make schemathesis    schemathesis, which pip fetches, on csrd and its OpenAPI document for SCHEMATHESIS_SECONDS=600' \
	'make bench           measure csrd beside its references (doc/bench.md); make bench-quick: one short round' \
	'make lint            layers, headers, banned calls, format, dialect, shell and Python checks' \
	'make format          clang-format, and what of the dialect can be mended by a program' \
	'make openapi         doc/openapi.json, as csrd serves it' \
	'make man             the manual pages, with scdoc, in build/release/man' \
	'make install         DESTDIR= PREFIX=/usr/local, UNITDIR= and others besides' \
	'make deb             Debian packages in build/deb' \
	'make clean           remove build/' \
	'make deps            install the Debian packages that building and running need' \
	'Variables: V=1 WERROR=1 SANITIZE= COVERAGE=1 CC= CFLAGS= LDFLAGS= JOBS=2'
