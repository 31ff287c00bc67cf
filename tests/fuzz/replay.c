/* SPDX-License-Identifier: Apache-2.0 */
/* Gives a fuzz target each file that is named, or that is in a folder that is named; prints TAP. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>

#define INPUT_BYTES_MAX ((size_t)1024 * 1024)

static unsigned replayed;

static void replay_file(const char *path)
{
	uint8_t *bytes = malloc(INPUT_BYTES_MAX);
	FILE *file = fopen(path, "rb");
	uint8_t *input;
	size_t len;

	FUZZ_CHECK(bytes && file);
	len = fread(bytes, 1, INPUT_BYTES_MAX, file);
	FUZZ_CHECK(!ferror(file));
	fclose(file);
	/* Exactly as long as the input: what reads past it is seen. */
	input = malloc(len > 0 ? len : 1);
	FUZZ_CHECK(input);
	memcpy(input, bytes, len);
	free(bytes);
	fprintf(stderr, "# %s\n", path); /* of a crash it is the last line */
	(void)LLVMFuzzerTestOneInput(input, len);
	free(input);
	replayed++;
}

static void replay(const char *path)
{
	struct dirent **names;
	int len = scandir(path, &names, NULL, alphasort);
	char file[4096];

	if (len < 0) {
		replay_file(path);
		return;
	}
	for (int i = 0; i < len; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			replay_file(file);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	name = name ? name + 1 : argv[0];
	(void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
#ifdef FUZZ_CORPUS
	if (argc == 1) {
		char folder[4096];

		snprintf(folder, sizeof(folder), "%s/%.*s", FUZZ_CORPUS, (int)strcspn(name, "_"), name);
		replay(folder);
	}
#endif
	FUZZ_CHECK(replayed > 0);
	printf("1..1\nok 1 - %u inputs\n", replayed);
	return 0;
}
