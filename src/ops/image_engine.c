#include "ops/image_engine.h"

#include <string.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define QUESTION_MS	   20000
#define CONTAINER_RECORD   (1U << 20)
#define CONTAINER_ID_CHARS 64U

struct ImageEngine {
	const char *name;
	bool is_buildah;	 /* podman builds with buildah's library */
	const char *save[8];	 /* NULL-terminated words before the image's id */
	const char *save_target; /* the word after it; NULL: none */
	bool saves_layout;
	const char *where; /* the format that makes its `info` tell where containers are */
	const char *remove[4];
};

/* In the order in which they are looked for. */
static const ImageEngine engines[] = {
	{ .name = "buildah",
	  .is_buildah = true,
	  /* Only to be read once, from the same disk. */
	  .save = { "push", "--quiet", "--compression-format", "gzip", "--compression-level", "1" },
	  .save_target = "oci:layout:latest",
	  .saves_layout = true,
	  .where = "{{.store.GraphRoot}}/{{.store.GraphDriverName}}-containers",
	  .remove = { "rm" } },
	{ .name = "podman",
	  .is_buildah = true,
	  .save = { "save", "--quiet", "--uncompressed", "--format", "oci-dir", "--output",
		    "layout" },
	  .saves_layout = true,
	  .where = "{{.Store.GraphRoot}}/{{.Store.GraphDriverName}}-containers",
	  .remove = { "rm", "--force" } },
	{ .name = "docker", .save = { "save", "--output", "image.tar" } },
};

const char *image_engine_name(const ImageEngine *engine)
{
	return engine->name;
}

const ImageEngine *image_engine_find(const char *name, Error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		auto_free char *path = NULL;

		if (name && strcmp(name, engines[i].name) != 0)
			continue;
		path = program_find(engines[i].name);
		if (path)
			return &engines[i];
		if (name) {
			auto_free char *hint = program_install_hint(name);

			error_set(err, ERR_MISSING_TOOL, "'%s' is not installed", name);
			error_hint(err, "%s", hint);
			return NULL;
		}
	}
	error_set(err, ERR_MISSING_TOOL,
		  "no program that builds from a Containerfile is installed");
	error_hint(err, "install one: apt-get install buildah (or podman, or docker.io)");
	return NULL;
}

/* Can RUN have a real container? It takes an OCI runtime, too. */
static bool has_containers(void)
{
	static const char *const runtimes[] = { "crun", "runc" };

	if (!os_can_contain())
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++) {
		auto_free char *path = program_find(runtimes[i]);

		if (path)
			return true;
	}
	return false;
}

static void add_build(const ImageEngine *engine, const EngineBuild *build, Command *cmd)
{
	command_add(cmd, "build");
	/* Who set this knows better. */
	if (engine->is_buildah && str_is_empty(getenv("BUILDAH_ISOLATION")) && !has_containers()) {
		command_add(cmd, "--isolation");
		command_add(cmd, "chroot");
	}
	for (size_t i = 0; build->build_args && i < build->build_args->count; i++) {
		command_add(cmd, "--build-arg");
		command_add(cmd, build->build_args->items[i]);
	}
	if (build->target) {
		command_add(cmd, "--target");
		command_add(cmd, build->target);
	}
	if (build->platform) {
		command_add(cmd, "--platform");
		command_add(cmd, build->platform);
	}
	if (build->no_cache)
		command_add(cmd, "--no-cache");
	command_add(cmd, "--file");
	command_add(cmd, build->file);
}

void image_engine_add_build(const ImageEngine *engine, const EngineBuild *build, const char *mark,
			    Command *cmd)
{
	add_build(engine, build, cmd);
	/* Nothing of a step that fails shall stay. */
	command_add(cmd, "--force-rm");
	if (engine->is_buildah) {
		command_add(cmd, "--layers");
		command_add(cmd, "--secret");
		command_addf(cmd, "id=%s,src=image.json", mark);
	}
	command_add(cmd, "--iidfile");
	command_add(cmd, "image-id");
	command_add(cmd, build->context);
}

/* So that a shell gives the word back; what no shell minds stays bare. */
static void add_quoted(Strbuf *text, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_./:=@%+,-";

	if (*word && !word[strspn(word, plain)]) {
		strbuf_adds(text, word);
		return;
	}
	strbuf_addc(text, '\'');
	for (const char *c = word; *c; c++)
		if (*c == '\'')
			strbuf_adds(text, "'\\''");
		else
			strbuf_addc(text, *c);
	strbuf_addc(text, '\'');
}

char *image_engine_text(const ImageEngine *engine, const EngineBuild *build)
{
	auto_command Command cmd = { 0 };
	auto_strbuf Strbuf text = { 0 };

	command_init(&cmd, engine->name, NULL);
	add_build(engine, build, &cmd);
	command_add(&cmd, build->context);
	for (size_t i = 0; i < cmd.argv.count; i++) {
		if (i > 0)
			strbuf_addc(&text, ' ');
		add_quoted(&text, cmd.argv.items[i]);
	}
	return strbuf_take(&text);
}

bool image_engine_add_save(const ImageEngine *engine, const char *id, Command *cmd)
{
	for (size_t i = 0; engine->save[i]; i++)
		command_add(cmd, engine->save[i]);
	command_add(cmd, id);
	if (engine->save_target)
		command_add(cmd, engine->save_target);
	return engine->saves_layout;
}

/* Does the engine's record of that working container name the mark? */
static bool has_mark(const char *containers, const char *id, const char *mark)
{
	auto_free char *dir = path_join(containers, id);
	auto_free char *path = path_join(dir, "userdata/buildah.json");
	auto_free char *text = NULL;
	auto_free char *secret = xasprintf("id=%s,", mark);
	size_t len = 0;

	return fs_read(path, CONTAINER_RECORD, &text, &len, NULL) == 0 && strstr(text, secret);
}

int image_engine_sweep(const ImageEngine *engine, const char *mark, Error **err)
{
	auto_command Command ask = { 0 };
	auto_strv Strv ids = { 0 };
	auto_free char *containers = NULL;
	const char *said;

	if (!engine->is_buildah)
		return 0;
	command_init(&ask, engine->name, "info", "--format", engine->where, NULL);
	ask.capture = true;
	ask.is_undo = true;
	if (command_run(&ask, deadline_in_ms(QUESTION_MS), err) < 0)
		return -1;
	said = strbuf_str(&ask.output);
	containers = xstrndup(said, strcspn(said, "\n"));
	if (fs_list(containers, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.count; i++) {
		auto_command Command cmd = { 0 };

		if (strlen(ids.items[i]) != CONTAINER_ID_CHARS ||
		    !has_mark(containers, ids.items[i], mark))
			continue;
		command_init(&cmd, engine->name, NULL);
		for (size_t j = 0; engine->remove[j]; j++)
			command_add(&cmd, engine->remove[j]);
		command_add(&cmd, ids.items[i]);
		cmd.is_undo = true;
		if (command_run(&cmd, deadline_in_ms(QUESTION_MS), err) < 0)
			return -1;
	}
	return 0;
}
