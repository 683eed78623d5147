#include "model/image_config.h"

#include "util/json.h"
#include "util/mem.h"

void image_config_release(ImageConfig *config)
{
	strv_release(&config->entrypoint);
	strv_release(&config->cmd);
	strv_release(&config->env);
	free(config->user);
	free(config->workdir);
	free(config->stop_signal);
	strv_release(&config->exposed_ports);
	strv_release(&config->labels);
	*config = (ImageConfig){ 0 };
}

json_t *image_config_to_json(const ImageConfig *config)
{
	json_t *doc = json_object();

	json_put_strv(doc, "entrypoint", &config->entrypoint);
	json_put_strv(doc, "cmd", &config->cmd);
	json_put_strv(doc, "env", &config->env);
	json_put_string(doc, "user", config->user ? config->user : "");
	json_put_string(doc, "workdir", config->workdir ? config->workdir : "");
	json_put_string(doc, "stop_signal", config->stop_signal ? config->stop_signal : "");
	json_put_strv(doc, "exposed_ports", &config->exposed_ports);
	json_put_pairs(doc, "labels", &config->labels);
	return doc;
}

int image_config_from_json(const json_t *doc, ImageConfig *out_config, Error **err)
{
	auto_image_config ImageConfig config = { 0 };

	if (!json_is_object(doc))
		return error_set(err, ERR_FAILED, "the image's config is not a JSON object");
	if (json_get_strv_opt(doc, "entrypoint", &config.entrypoint, err) < 0 ||
	    json_get_strv_opt(doc, "cmd", &config.cmd, err) < 0 ||
	    json_get_strv_opt(doc, "env", &config.env, err) < 0 ||
	    json_get_string_opt(doc, "user", &config.user, err) < 0 ||
	    json_get_string_opt(doc, "workdir", &config.workdir, err) < 0 ||
	    json_get_string_opt(doc, "stop_signal", &config.stop_signal, err) < 0 ||
	    json_get_strv_opt(doc, "exposed_ports", &config.exposed_ports, err) < 0 ||
	    json_get_pairs_opt(doc, "labels", &config.labels, err) < 0)
		return error_wrap(err, "the image's config");
	*out_config = config;
	config = (ImageConfig){ 0 };
	return 0;
}
