/*
 * The help texts of csrctl, one for each group of commands.  Each fits on a
 * screen: at most 24 lines of 80 columns; what does not fit is in csrctl(1).
 */
#include "cli/command.h"
#include "config/config.h"

#include <stdio.h>
#include <string.h>

struct help {
	const char *group; /* NULL: csrctl itself */
	const char *text;
};

static const struct help helps[] = {
	{NULL,
	 "Usage: csrctl [-c FILE] [--json] COMMAND [OPTION]... [ARGUMENT]...\n"
	 "Commands; \"csrctl COMMAND --help\" says more, csrctl(1) says all:\n"
	 "  setup                     makes a first service out of a token\n"
	 "  doctor                    checks everything, and says what to do about it\n"
	 "  status                    how csrd, the signers, tokens and key pools are\n"
	 "  account add|list          accounts, and how many CSRs each may hold\n"
	 "  zone add|list             zones; each belongs to one account\n"
	 "  token create|list|revoke  API tokens (Authorization: Bearer)\n"
	 "  user create|list|revoke   users (X-Auth-Email and X-Auth-Key)\n"
	 "  csr list|show             requests, with their keys and history\n"
	 "  reconcile                 settles what was left open between store and HSM\n"
	 "  verify                    compares every CSR of the store with its token\n"
	 "  backup, restore           a copy of the store, while csrd runs, and back\n"
	 "  config check|show         the configuration file, and what is in force\n"
	 "  completion bash|zsh       prints a script for the shell\n"
	 "\n"
	 "Options, before or after the command:\n"
	 "  -c, --config FILE  default " CONFIG_DEFAULT_PATH "\n"
	 "      --json         one JSON document on standard output\n"
	 "  -h, --help; -V, --version\n"
	 "\n"
	 "Exit codes: 0 done; 1 not done, or something is left to do; 64 wrong usage;\n"
	 "65 store damaged or too new; 69 no answer; 70, 71 internal; 73 store in use;\n"
	 "75 token failed; 78 wrong configuration.\n"},
	{"account",
	 "Usage: csrctl account add [ID] [--name NAME] [--quota N|unlimited]\n"
	 "       csrctl account list\n"
	 "\n"
	 "add   makes an account; ID is 1-32 of [0-9A-Za-z_-], without it 32 random hex\n"
	 "      digits.  Makes the store when there is none.\n"
	 "list  shows all accounts.\n"
	 "\n"
	 "  --name NAME          words for people\n"
	 "  --quota N|unlimited  CSRs it may hold at a time, not counting those of its\n"
	 "                       zones (default unlimited)\n"},
	{"zone",
	 "Usage: csrctl zone add [ID] --account ACCOUNT [--name NAME]\n"
	 "                       [--quota N|unlimited]\n"
	 "       csrctl zone list\n"
	 "\n"
	 "add   makes a zone of an account; ID is 1-32 of [0-9A-Za-z_-], without it 32\n"
	 "      random hex digits.\n"
	 "list  shows all zones.\n"
	 "\n"
	 "  --account ACCOUNT    the account that it belongs to\n"
	 "  --name NAME          words for people, such as the domain\n"
	 "  --quota N|unlimited  CSRs it may hold at one time (default unlimited)\n"},
	{"token",
	 "Usage: csrctl token create --name NAME --account|--zone ID[:read|:write]...\n"
	 "                           [--expires WHEN] [--not-before WHEN]\n"
	 "       csrctl token list\n"
	 "       csrctl token revoke ID\n"
	 "\n"
	 "create  makes an API token and shows it, this once: the store keeps its SHA-256\n"
	 "        alone.\n"
	 "list    shows all tokens, also expired and revoked ones, without their values.\n"
	 "revoke  ends one at once, for good.\n"
	 "\n"
	 "  --name NAME                what it is for\n"
	 "  --account ID[:PERMISSION]  may read (default) or write CSRs of that account,\n"
	 "                             not of its zones\n"
	 "  --zone ID[:PERMISSION]     the same for a zone; both may be given many times\n"
	 "  --expires WHEN             90d, 12h, 2027-01-31, 2027-01-31T12:00:00Z or never\n"
	 "                             (default)\n"
	 "  --not-before WHEN          the same\n"},
	{"user",
	 "Usage: csrctl user create --email EMAIL --account|--zone ID[:read|:write]...\n"
	 "                          [--expires WHEN] [--not-before WHEN]\n"
	 "       csrctl user list\n"
	 "       csrctl user revoke ID|EMAIL\n"
	 "\n"
	 "create  makes a user and shows the key, this once: the store keeps its SHA-256\n"
	 "        alone.\n"
	 "list    shows all users, also expired and revoked ones, without their keys.\n"
	 "revoke  ends one at once, for good; the address may then be given to a new one.\n"
	 "\n"
	 "  --email EMAIL              what X-Auth-Email says\n"
	 "  --account ID[:PERMISSION]  may read (default) or write CSRs of that account,\n"
	 "                             not of its zones\n"
	 "  --zone ID[:PERMISSION]     the same for a zone; both may be given many times\n"
	 "  --expires WHEN             90d, 12h, 2027-01-31, 2027-01-31T12:00:00Z or never\n"
	 "                             (default)\n"
	 "  --not-before WHEN          the same\n"},
	{"csr",
	 "Usage: csrctl csr list [--account ID | --zone ID] [--state STATE]... [--limit N]\n"
	 "       csrctl csr show ID [--pem]\n"
	 "\n"
	 "list  shows CSRs by the time they were made, the oldest first.\n"
	 "show  shows all that is known of one: subject, names, key, protection and\n"
	 "      history.\n"
	 "\n"
	 "  --account ID   those made for the account itself, not for its zones\n"
	 "  --zone ID      those made for the zone\n"
	 "  --state STATE  pending, active, deleting, destroyed or failed; may be given\n"
	 "                 many times\n"
	 "  --limit N      at most N (default 100)\n"
	 "  --pem          the PEM and nothing else\n"},
	{"reconcile",
	 "Usage: csrctl reconcile [--token NAME] [--apply] [--min-age DURATION]\n"
	 "                        [--give-up ID|all]\n"
	 "\n"
	 "Asks the signer about every CSR whose outcome is open, and compares all keys of\n"
	 "the token with the store.  csrd does the same at start and on a timer.\n"
	 "\n"
	 "  pending   a create that came to no end: its key is destroyed, it fails\n"
	 "  deleting  a delete that came to no end: its key is destroyed\n"
	 "  leftover  key of a failed or destroyed CSR: destroyed\n"
	 "  missing   active CSR without a whole key pair of its own: reported\n"
	 "  unknown   key with csrd's label and no CSR: reported, never destroyed\n"
	 "  busy      being worked on, or changed a moment ago: look again later\n"
	 "  set-aside key of a CSR that was open when the store went back: kept\n"
	 "\n"
	 "  --token NAME        [token NAME] of the configuration (default: the first)\n"
	 "  --apply             do it; without it nothing is changed\n"
	 "  --min-age DURATION  leave alone what changed less long ago (default 2m)\n"
	 "  --give-up ID|all    destroy the key of that set-aside CSR, or of all of them\n"
	 "\n"
	 "Exit code 0: nothing found, or all of it settled; 1: something is left to do.\n"},
	{"verify",
	 "Usage: csrctl verify [--token NAME] [--full]\n"
	 "\n"
	 "Proves that all is as recorded, and changes nothing: the database by itself\n"
	 "(pages, references, rules, counters, audit trail), every CSR against its row\n"
	 "(signature, subject, names, public key), the keys of the token against the\n"
	 "rows.  csrctl reconcile, unlike this, settles what came to no end.\n"
	 "\n"
	 "  --token NAME  [token NAME] of the configuration (default: the first)\n"
	 "  --full        also read the public key and the attributes of every key from\n"
	 "                the token, and all indexes of the database: takes longer\n"
	 "\n"
	 "Tells every difference, and what to do about each kind of them.\n"
	 "Exit code 0: none; 1: some; 69: the signer does not answer.\n"},
	{"backup",
	 "Usage: csrctl backup [--force] FILE|DIR\n"
	 "\n"
	 "Copies the store as it is at one instant, while csrd runs or not, to FILE, or\n"
	 "to csrd-TIME.db in DIR.  The copy is one file of mode 0600, checked wholly\n"
	 "before it gets its name; its SHA-256 goes into the audit trail of the store.\n"
	 "It needs as much room again beside the store while it works.\n"
	 "\n"
	 "  --force  replace FILE when it exists\n"
	 "\n"
	 "It holds no key: back up the token by its own means, at the same time or later.\n"},
	{"restore",
	 "Usage: csrctl restore FILE\n"
	 "\n"
	 "Puts a backup in the place of the store.  Stop csrd first.  FILE is checked\n"
	 "wholly, and brought to the newest schema, before anything is changed; the old\n"
	 "store is kept beside the new one as NAME.before-restore-TIME.  Interrupted at\n"
	 "any moment it leaves the old or the new store whole.\n"
	 "\n"
	 "Afterwards start the signer, run 'csrctl verify --full', then start csrd: CSRs\n"
	 "that were made after the backup are keys that no CSR has (unknown-key), CSRs\n"
	 "that were deleted after it have no key (missing-key).\n"
	 "\n"
	 "Exit code 65: FILE is damaged, not csrd's or too new; 73: a csrd runs.\n"},
	{"config",
	 "Usage: csrctl config check\n"
	 "       csrctl config show [KEY]...\n"
	 "\n"
	 "check  reads the configuration as csrd -t does, and looks whether what it names\n"
	 "       is there on this machine: modules, users, folders; and at token URIs.\n"
	 "       Exit code 78: something is wrong.\n"
	 "show   prints every value in force, from which line of the file it is, or that\n"
	 "       it is the default, and whether a reload or only a restart changes it.\n"
	 "\n"
	 "  KEY  http.listen, token.NAME.uri, the last part alone, or a section\n"
	 "\n"
	 "There is no secret in it: the PIN is in the file that pin_file names.\n"},
	{"setup",
	 "Usage: csrctl setup [--token NAME] --module FILE --uri URI --pin-file FILE|-\n"
	 "                    [--encrypt-pin] [--account ID] [--listen WHERE] [--no-start]\n"
	 "       csrctl setup --softhsm [OPTION]...\n"
	 "       csrctl setup\n"
	 "\n"
	 "Makes a running service of a fresh installation: sets the token in the\n"
	 "configuration, stores its PIN for systemd, starts the units, adds an account and\n"
	 "an API token, which is shown this once.  On a terminal it asks for what is\n"
	 "missing.  Does what is not done yet and changes nothing that somebody set.\n"
	 "\n"
	 "  --module, --uri    PKCS#11 module of the HSM, and which token of it\n"
	 "  --pin-file FILE|-  where to read its user PIN; - is standard input\n"
	 "  --encrypt-pin      store it with systemd-creds, for this machine alone\n"
	 "  --softhsm          make a SoftHSM token for a trial (its keys are in files)\n"
	 "  --token NAME       the section of the configuration (default: default)\n"
	 "  --listen, --account  [http] listen, if not the default; the account's id\n"
	 "  --no-inspect       do not look for the token first; --yes: ask nothing\n"
	 "  --no-start         leave the units as they are\n"
	 "\n"
	 "JSON: {token, module, uri, url, account, api_token?, started}.\n"},
	{"status",
	 "Usage: csrctl status [--token NAME] [--watch[=SECONDS]]\n"
	 "\n"
	 "Asks csrd whether it is ready, and each signer how it, its token and its key\n"
	 "pool are.  Does not need the store.\n"
	 "\n"
	 "  --token NAME       that [token NAME] alone (default: all)\n"
	 "  --watch[=SECONDS]  again and again on the terminal (default every 2), until\n"
	 "                     it is interrupted\n"
	 "\n"
	 "Exit code 0: csrd answers, or does not run here, and every token can be worked\n"
	 "with; 1: a token cannot, or csrd is not ready; 69: a signer does not answer.\n"},
	{"doctor",
	 "Usage: csrctl doctor [--token NAME]\n"
	 "\n"
	 "Looks at everything that csrd needs, and says of each what was found and what\n"
	 "to do about it: configuration, owners and modes of files, PKCS#11 module,\n"
	 "token, mechanisms, PIN (which is not tried), clock, store, sockets, units.\n"
	 "Changes nothing.  As root it sees all; otherwise some checks are skipped.\n"
	 "\n"
	 "  --token NAME  that [token NAME] alone (default: all)\n"
	 "\n"
	 "Each check is ok, warn (works, but look at it), FAIL or skip (could not look).\n"
	 "Exit code 0: nothing fails, warnings or not; 1: something fails.\n"},
	{"completion",
	 "Usage: csrctl completion bash|zsh\n"
	 "\n"
	 "Prints a script that completes csrctl's command line.  Debian's package\n"
	 "installs both.  For one shell alone:\n"
	 "\n"
	 "  bash  eval \"$(csrctl completion bash)\"\n"
	 "  zsh   eval \"$(csrctl completion zsh)\", after compinit\n"},
};

void command_print_help(const char *group)
{
	for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++)
		if (group ? helps[i].group && !strcmp(helps[i].group, group) : !helps[i].group)
			fputs(helps[i].text, stdout);
}
