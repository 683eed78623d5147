#include "model/config.h"

#include "util/mem.h"

void config_release(Config *config)
{
	free(config->instance_id);
	free(config->storage);
	free(config->storage_path);
	free(config->storage_pool);
	free(config->storage_dataset);
	free(config->kernel);
	free(config->hypervisor);
	free(config->network);
	free(config->created_at);
	*config = (Config){ 0 };
}
