#!/bin/bash
# Runs a whole csrd on this machine, for trying it out: a SoftHSM token, a
# configuration, an account, a zone, an API token and a user, all in one
# folder, and the two programs in the foreground until Ctrl-C.
#
#   tools/run.sh BIN_DIR RUN_DIR PORT
#
# The folder is kept: the next run goes on with the same keys and records.
#   RUN_DIR/env     shell lines: CSRD_URL, CSRD_TOKEN, CSRD_ACCOUNT, …
#   RUN_DIR/ready   is there while the service answers
#   RUN_DIR/*.log   what the programs say
set -euo pipefail
umask 077

ACCOUNT=0123456789abcdef0123456789abcdef
ZONE=fedcba9876543210fedcba9876543210
EMAIL=user@example.com
TOKEN_LABEL=csrd-run
SOCKET_PATH_MAX=107
READY_SECONDS=60
END_SECONDS=30
RESTARTS_MAX=10      # in a row, …
RESTART_PAUSE=0.2    # … this many seconds apart;
RESTART_LIVED=30     # one that lived that long begins a new row

hsm_pid=
csrd_pid=

say()
{
	printf 'run: %s\n' "$*"
}

fail()
{
	printf 'run: %s\n' "$*" >&2
	exit 1
}

# ---- the two programs -----------------------------------------------------------

# In a session of its own, so that Ctrl-C reaches this script alone; ends with it, however it ends.
start()
{
	setsid setpriv --pdeathsig TERM -- "$@" &
}

# tools/run.sh --supervise PROGRAM ARGUMENTS: runs it, and again when it ended with 75 (its HSM failed) or by a
# signal that we did not send, as a service manager would.  Other codes ask for a person.
supervise()
{
	local status started restarts=0

	child=
	stopping=
	trap 'stopping=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM
	while :; do
		started=$SECONDS
		setpriv --pdeathsig TERM -- "$@" &
		child=$!
		[ -z "$stopping" ] || kill -TERM "$child" 2>/dev/null || true
		while :; do
			status=0
			wait "$child" || status=$?
			is_running "$child" || break # else the wait was cut short by our own signal
		done
		[ -z "$stopping" ] || exit "$status"
		[ "$status" -eq 75 ] || [ "$status" -gt 128 ] || exit "$status"
		[ $((SECONDS - started)) -lt "$RESTART_LIVED" ] || restarts=0
		restarts=$((restarts + 1))
		if [ "$restarts" -gt "$RESTARTS_MAX" ]; then
			say "$(basename "$1") ended with status $status, $RESTARTS_MAX times in a row: given up"
			exit "$status"
		fi
		say "$(basename "$1") ended with status $status and is started again"
		sleep "$RESTART_PAUSE"
		[ -z "$stopping" ] || exit "$status"
	done
}

is_running()
{
	[ -n "$1" ] && kill -0 "$1" 2>/dev/null
}

# TERM, and after END_SECONDS KILL.
# shellcheck disable=SC2317 # called by clean_up
end_program()
{
	local pid=$1 tries=$((END_SECONDS * 10))

	is_running "$pid" || return 0
	kill -TERM "$pid" 2>/dev/null || return 0
	while is_running "$pid" && [ "$tries" -gt 0 ]; do
		sleep 0.1 || true
		tries=$((tries - 1))
	done
	kill -KILL "$pid" 2>/dev/null || true
}

# csrd first: it answers what is in flight while its signer still works.
# shellcheck disable=SC2317 # called by a trap
clean_up()
{
	local status=$?

	trap '' INT TERM HUP
	trap - EXIT
	rm -f "$run_dir/ready"
	end_program "$csrd_pid"
	end_program "$hsm_pid"
	exit "$status"
}

# Says why a program ended, with the end of its log, and gives up.
report_end()
{
	local name=$1 status=$2 log=$3

	printf 'run: %s ended with status %s; the end of %s:\n' "$name" "$status" "$log" >&2
	tail -n 15 "$log" >&2 || true
	if grep -q "cannot listen on '.*:$port': another process has it" "$log"; then
		printf 'run: port %s is in use: choose another, as in: make run PORT=%s\n' "$port" $((port + 1)) >&2
	fi
	exit 1
}

# Gives up when one of the two has ended.
check_alive()
{
	local status=0

	if ! is_running "$hsm_pid"; then
		wait "$hsm_pid" || status=$?
		report_end csrd-hsm "$status" "$run_dir/csrd-hsm.log"
	fi
	if ! is_running "$csrd_pid"; then
		wait "$csrd_pid" || status=$?
		report_end csrd "$status" "$run_dir/csrd.log"
	fi
}

# ---- what they need -------------------------------------------------------------

find_module()
{
	local path

	for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/pkcs11/libsofthsm2.so; do
		if [ -e "$path" ]; then
			printf '%s\n' "$path"
			return
		fi
	done
	fail "SoftHSM's module is not installed (Debian package softhsm2)"
}

random_digits()
{
	od -An -N16 -tu4 /dev/urandom | tr -d ' \n' | cut -c 1-24
}

make_token()
{
	mkdir -p "$run_dir/tokens"
	printf '%s\n' "directories.tokendir = $run_dir/tokens" 'objectstore.backend = file' 'log.level = ERROR' \
		>"$run_dir/softhsm2.conf"
	[ -e "$run_dir/token.made" ] && return
	rm -rf "$run_dir/tokens" "$run_dir/state"
	mkdir "$run_dir/tokens"
	random_digits >"$run_dir/pin"
	# SoftHSM's tool takes a PIN from its arguments or from a terminal only; this one guards a trial token.
	softhsm2-util --init-token --free --label "$TOKEN_LABEL" --so-pin "$(random_digits)" \
		--pin "$(cat "$run_dir/pin")" >/dev/null
	: >"$run_dir/token.made"
	say "made a SoftHSM token in $run_dir/tokens"
}

write_config()
{
	cat >"$config" <<END
# Written by every "make run": changes here do not last.
[http]
listen = 127.0.0.1:$port, [::1]:$port

[store]
url = sqlite:$run_dir/csrd.db

[log]
level = info

[token default]
module = $(find_module)
uri = pkcs11:token=$TOKEN_LABEL
pin_file = $run_dir/pin
state_dir = $run_dir/state
socket = $run_dir/csrd-hsm.sock
client_users = $(id -u)
END
}

# Its JSON; what it says besides only when it fails.
csrctl()
{
	"$bin_dir/csrctl" -c "$config" --json "$@" 2>"$run_dir/csrctl.log" || {
		cat "$run_dir/csrctl.log" >&2
		fail "csrctl $1 $2 failed"
	}
}

# The value of one text member of the JSON on standard input.
json_text()
{
	sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' | head -n 1
}

# Each thing is made once; a file names those that are, so a run that was cut short goes on where it was.
is_made()
{
	grep -qx "$1" "$run_dir/made" 2>/dev/null
}

made()
{
	echo "$1" >>"$run_dir/made"
}

make_principals()
{
	local token key
	local grants=(--account "$ACCOUNT:write" --zone "$ZONE:write")

	if ! is_made account; then
		csrctl account add "$ACCOUNT" --name 'Trial account' >/dev/null
		made account
	fi
	if ! is_made zone; then
		csrctl zone add "$ZONE" --account "$ACCOUNT" --name example.com >/dev/null
		made zone
	fi
	if ! is_made token; then
		token=$(csrctl token create --name trial "${grants[@]}" | json_text token)
		[ -n "$token" ] || fail 'csrctl gave no API token'
		echo "CSRD_TOKEN=$token" >"$run_dir/env.token"
		made token
	fi
	if ! is_made user; then
		key=$(csrctl user create --email "$EMAIL" "${grants[@]}" | json_text key)
		[ -n "$key" ] || fail 'csrctl gave no key'
		echo "CSRD_KEY=$key" >"$run_dir/env.key"
		made user
	fi
}

# No value needs quotes: all are of [0-9A-Za-z_.:/@-].
write_env()
{
	{
		echo "CSRD_URL=$url"
		cat "$run_dir/env.token"
		printf '%s\n' "CSRD_ACCOUNT=$ACCOUNT" "CSRD_ZONE=$ZONE" "CSRD_EMAIL=$EMAIL"
		cat "$run_dir/env.key"
		echo 'export CSRD_URL CSRD_TOKEN CSRD_ACCOUNT CSRD_ZONE CSRD_EMAIL CSRD_KEY'
	} >"$run_dir/env.new"
	mv "$run_dir/env.new" "$run_dir/env"
}

# ---- showing it -----------------------------------------------------------------

wait_ready()
{
	local tries=$((READY_SECONDS * 10))

	while ! curl -fs -o /dev/null -m 5 "http://127.0.0.1:$port/readyz"; do
		check_alive
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "the service is not ready after $READY_SECONDS s; see $run_dir/*.log"
		sleep 0.1
	done
	check_alive
}

body='{"country":"US","state":"California","locality":"San Francisco","organization":"Example, Inc.","common_name":"www.example.com","sans":["www.example.com","example.com"],"key_type":"p256v1"}'

make_one_csr()
{
	local answer

	# The header comes by standard input: the API token stays off the process list.
	# shellcheck source=/dev/null
	answer=$(. "$run_dir/env" && printf 'Authorization: Bearer %s\n' "$CSRD_TOKEN" |
		curl -sS -m 60 -H @- -H 'Content-Type: application/json' -d "$body" "$url/accounts/$ACCOUNT/custom_csrs") ||
		fail 'the first request failed'
	printf '%s' "$answer" | json_text csr | sed -e 's/\\n/\n/g' -e 's#\\/#/#g' >"$run_dir/first.csr"
	[ -s "$run_dir/first.csr" ] || fail "the first request was refused: $answer"
	say 'made one CSR through the API; its key is in the token:'
	openssl req -in "$run_dir/first.csr" -verify -subject -nameopt RFC2253,-esc_msb
}

show_usage()
{
	cat <<END

csrd answers on $url
The API token and everything else is in $run_dir/env.  In another terminal:

  . '$run_dir/env'
  curl -sS -H "Authorization: Bearer \$CSRD_TOKEN" -H 'Content-Type: application/json' \\
    -d '$body' \\
    "\$CSRD_URL/accounts/\$CSRD_ACCOUNT/custom_csrs"

Ctrl-C ends it.
END
}

# ---- main -----------------------------------------------------------------------

if [ "${1-}" = --supervise ]; then
	shift
	supervise "$@"
fi
if [ $# -ne 3 ]; then
	echo 'usage: tools/run.sh BIN_DIR RUN_DIR PORT' >&2
	exit 64
fi
bin_dir=$(cd "$1" && pwd)
port=$3
case $port in
'' | *[!0-9]* | ??????*) fail "'$port' is not a port" ;;
esac
if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
	fail "'$port' is not a port"
fi
mkdir -p "$2"
run_dir=$(cd "$2" && pwd)
config=$run_dir/csrd.conf
url=http://127.0.0.1:$port/client/v4
export SOFTHSM2_CONF=$run_dir/softhsm2.conf
socket=$run_dir/csrd-hsm.sock
[ "${#socket}" -le "$SOCKET_PATH_MAX" ] || fail "the path '$run_dir' is too long for a unix socket in it"

exec 9>"$run_dir/lock"
flock -n 9 || fail "another 'make run' uses $run_dir"
rm -f "$run_dir/ready"
make_token
write_config
make_principals
write_env

trap clean_up EXIT
trap 'exit 0' INT TERM HUP
start "$BASH" "$0" --supervise "$bin_dir/csrd-hsm" -c "$config" >"$run_dir/csrd-hsm.log" 2>&1 9>&-
hsm_pid=$!
start "$bin_dir/csrd" -c "$config" >"$run_dir/csrd.log" 2>&1 9>&-
csrd_pid=$!
wait_ready
make_one_csr
: >"$run_dir/ready"
show_usage

# Whichever ends first; a signal ends the wait and the script.
wait -n "$hsm_pid" "$csrd_pid" || true
check_alive
fail 'one of the two programs ended'
