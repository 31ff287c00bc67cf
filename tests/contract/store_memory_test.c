/* The store contract over the fake backend, so that tests may rely on it. */
#include "tests/contract/store_contract.h"
#include "tests/fakes/store_memory.h"

static enum err open_memory(struct store **ret_store)
{
	return store_memory_open("contract", ret_store);
}

int main(void)
{
	static const struct store_contract_target target = {
	    .name = "store contract: memory", .open = open_memory, .wipe = store_memory_forget};

	return store_contract_run(&target);
}
