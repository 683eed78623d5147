#include "keeper/ready.h"

#include <string.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

static int say(int fd, const json_t *doc, Error **err)
{
	auto_free char *text = json_text(doc);
	auto_free char *line = xasprintf("%s\n", text);

	return fs_write_all(fd, line, strlen(line), err);
}

static json_t *process_to_json(const ProcId *id)
{
	json_t *doc = json_object();

	json_put_u64(doc, "pid", (uint64_t)id->pid);
	json_put_u64(doc, "started", id->started);
	return doc;
}

int ready_say_hypervisor(int fd, const ProcId *hypervisor, Error **err)
{
	json_auto_t *doc = json_object();

	json_put_take(doc, "hypervisor", process_to_json(hypervisor));
	return say(fd, doc, err);
}

int ready_say_done(int fd, Error **err)
{
	json_auto_t *doc = json_object();
	ProcId self;

	if (proc_identify(getpid(), &self, err) < 0)
		return -1;
	json_put_bool(doc, "ready", true);
	json_put_take(doc, "keeper", process_to_json(&self));
	return say(fd, doc, err);
}

void ready_say_error(int fd, const Error *failure)
{
	auto_free char *sentence = error_sentence(failure);
	json_auto_t *doc = json_object();
	json_t *error = json_object();

	json_put_string(error, "code", error_code_word(error_code(failure)));
	json_put_string(error, "message", sentence);
	json_put_string(error, "hint", error_hint_text(failure));
	json_put_string(error, "detail", error_detail_text(failure));
	json_put_take(doc, "error", error);
	(void)say(fd, doc, NULL);
}
