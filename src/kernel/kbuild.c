#include "kernel/kbuild.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define CONFIG_TIMEOUT_MS 300000
#define SHORT_TIMEOUT_MS  60000
#define LOG_TAIL_MAX	  2000
#define LOG_READ_MAX	  (64U << 20)
#define CONFIG_MAX	  (1U << 20)
#define MISSING_SHOWN	  8

static const char *const tools[] = { "make", "gcc", "ld", "strip", "flex", "bison", "bc", "perl" };

/* Not a program: objtool is compiled with it. */
static bool has_libelf(void)
{
	auto_command Command cmd = { 0 };

	command_init(&cmd, "gcc", "-fsyntax-only", "-include", "gelf.h", "-x", "c", "/dev/null",
		     NULL);
	return command_run(&cmd, deadline_in_ms(SHORT_TIMEOUT_MS), NULL) == 0;
}

static void need(const char *program, Strv *missing, Strv *packages)
{
	auto_free char *path = program_find(program);
	const char *package = program_package(program);

	if (path)
		return;
	strv_push(missing, program);
	if (package && !strv_has(packages, package))
		strv_push(packages, package);
}

int kbuild_check_tools(const char *const *extra, Error **err)
{
	auto_strv Strv missing = { 0 };
	auto_strv Strv packages = { 0 };
	auto_free char *names = NULL;
	auto_free char *line = NULL;
	auto_free char *gcc = program_find("gcc");

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		need(tools[i], &missing, &packages);
	for (; *extra; extra++)
		need(*extra, &missing, &packages);
	if (!gcc || !has_libelf()) {
		strv_push(&missing, "gelf.h");
		strv_push(&packages, "libelf-dev");
	}
	if (!gcc)
		strv_push(&packages, "libc6-dev");
	if (!missing.count)
		return 0;
	names = strv_join(&missing, ", ");
	line = strv_join(&packages, " ");
	error_set(err, ERR_MISSING_TOOL, "to compile a kernel this host lacks %s", names);
	return error_hint(err, "install all of it: apt-get install %s", line);
}

static int first_line(const char *program, Strbuf *text, Error **err)
{
	auto_command Command cmd = { 0 };
	const char *output;

	command_init(&cmd, program, "--version", NULL);
	command_add_env(&cmd, "LC_ALL", "C");
	cmd.capture = true;
	if (command_run(&cmd, deadline_in_ms(SHORT_TIMEOUT_MS), err) < 0)
		return -1;
	output = strbuf_str(&cmd.output);
	strbuf_addf(text, "%.*s\n", (int)strcspn(output, "\n"), output);
	return 0;
}

int kbuild_toolchain(char **out_text, Error **err)
{
	auto_strbuf Strbuf text = { 0 };

	if (first_line("gcc", &text, err) < 0 || first_line("ld", &text, err) < 0)
		return -1;
	*out_text = strbuf_take(&text);
	return 0;
}

/* The day of the source: tarballs of distributions carry that of their last change. */
static void add_timestamp(const Kbuild *kbuild, Command *cmd)
{
	auto_free char *makefile = path_join(kbuild->source_dir, "Makefile");
	struct stat st = { 0 };

	(void)stat(makefile, &st);
	command_addf(cmd, "KBUILD_BUILD_TIMESTAMP=@%lld", (long long)st.st_mtim.tv_sec);
}

/* Everything that make starts goes when we die; the compiler's temporary files go with ours. */
static void begin_make(const Kbuild *kbuild, Command *cmd)
{
	const char *path = getenv("PATH");

	command_init(cmd, "env", "-i", "LC_ALL=C", NULL);
	cmd->is_tied = true;
	command_addf(cmd, "PATH=%s", path ? path : "/usr/local/bin:/usr/bin:/bin");
	command_addf(cmd, "TMPDIR=%s", kbuild->temp_dir);
	command_add(cmd, "KBUILD_BUILD_USER=ember");
	command_add(cmd, "KBUILD_BUILD_HOST=ember");
	command_add(cmd, "KBUILD_BUILD_VERSION=1");
	add_timestamp(kbuild, cmd);
	command_add(cmd, "make");
	command_add(cmd, "--no-print-directory");
	command_add(cmd, "-C");
	command_add(cmd, kbuild->source_dir);
	command_addf(cmd, "O=%s", kbuild->object_dir);
	command_addf(cmd, "ARCH=%s", !strcmp(kbuild->arch, "aarch64") ? "arm64" : kbuild->arch);
}

/* The output of a make on its way into the log. */
typedef struct Output {
	const Kbuild *kbuild;
	int log_fd;
	uint64_t files;
} Output;

static void on_line(const char *line, void *arg)
{
	Output *output = arg;
	auto_free char *text = xasprintf("%s\n", line);

	/* A full disk fails the build itself. */
	(void)fs_write_all(output->log_fd, text, strlen(text), NULL);
	/* "  CC      init/main.o" and the like: one a file */
	if (!str_starts_with(line, "  ") || line[2] < 'A' || line[2] > 'Z')
		return;
	output->files++;
	if (output->kbuild->progress)
		output->kbuild->progress(output->kbuild->arg, output->files);
}

static void add_log_tail(const char *path, Error **err)
{
	auto_free char *text = NULL;
	size_t len;

	if (fs_read(path, LOG_READ_MAX, &text, &len, NULL) < 0)
		return;
	error_detail(err, text + (len > LOG_TAIL_MAX ? len - LOG_TAIL_MAX : 0));
}

/* With these words added to its command line. */
static int run_make(const Kbuild *kbuild, const Strv *words, Deadline until, uint64_t *out_files,
		    Error **err)
{
	auto_command Command cmd = { 0 };
	auto_fd log = open(kbuild->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	Output output = { .kbuild = kbuild, .log_fd = log };
	auto_error cause = NULL;

	if (log < 0)
		return error_set_errno(err, errno, "write '%s'", kbuild->log);
	begin_make(kbuild, &cmd);
	for (size_t i = 0; i < words->count; i++)
		command_add(&cmd, words->items[i]);
	cmd.on_line = on_line;
	cmd.on_line_arg = &output;
	cmd.stderr_fd = log;
	if (command_run(&cmd, until, &cause) == 0) {
		*out_files = output.files;
		return 0;
	}
	if (error_code(cause) != ERR_FAILED) {
		error_move(err, &cause);
		return -1;
	}
	error_set(err, ERR_FAILED, "the kernel's build system failed");
	add_log_tail(kbuild->log, err);
	return -1;
}

static int check_config(const Fragment *fragment, const char *path, Error **err)
{
	auto_free char *config = NULL;
	auto_free char *names = NULL;
	auto_strv Strv missing = { 0 };
	auto_strv Strv shown = { 0 };
	size_t len;

	if (fs_read(path, CONFIG_MAX, &config, &len, err) < 0)
		return -1;
	fragment_missing(fragment, config, &missing);
	if (!missing.count)
		return 0;
	for (size_t i = 0; i < missing.count && i < MISSING_SHOWN; i++)
		strv_push(&shown, missing.items[i]);
	if (missing.count > MISSING_SHOWN)
		strv_pushf(&shown, "and %zu more", missing.count - MISSING_SHOWN);
	names = strv_join(&shown, ", ");
	error_set(err, ERR_UNSUPPORTED, "this source does not come to: %s", names);
	return error_hint(err, "add the options that these depend on, or leave them out, in a "
			       "fragment of yours: --config FILE");
}

int kbuild_configure(const Kbuild *kbuild, const Fragment *fragment, Error **err)
{
	auto_free char *text = fragment_text(fragment);
	auto_free char *wanted = path_join(kbuild->object_dir, "ember.config");
	auto_free char *config = path_join(kbuild->object_dir, ".config");
	auto_strv Strv words = { 0 };
	Kbuild quiet = *kbuild;
	uint64_t files;

	quiet.progress = NULL; /* a handful of files, and not of the kernel */
	if (fs_write_atomic(wanted, text, strlen(text), 0600, false, err) < 0)
		return -1;
	strv_pushf(&words, "KCONFIG_ALLCONFIG=%s", wanted);
	strv_push(&words, "allnoconfig");
	if (run_make(&quiet, &words, deadline_in_ms(CONFIG_TIMEOUT_MS), &files, err) < 0)
		return error_wrap(err, "configure the kernel");
	return check_config(fragment, config, err);
}

int kbuild_compile(const Kbuild *kbuild, const char *image, uint64_t *out_files, Error **err)
{
	bool is_arm = !strcmp(kbuild->arch, "aarch64");
	auto_free char *made =
		path_join(kbuild->object_dir, is_arm ? "arch/arm64/boot/Image" : "vmlinux");
	auto_strv Strv words = { 0 };
	auto_command Command strip = { 0 };

	strv_pushf(&words, "-j%u", kbuild->jobs);
	strv_push(&words, is_arm ? "Image" : "vmlinux");
	if (run_make(kbuild, &words, DEADLINE_NEVER, out_files, err) < 0)
		return error_wrap(err, "compile the kernel");
	if (is_arm)
		return fs_rename(made, image, err);
	command_init(&strip, "strip", "-o", image, made, NULL);
	if (command_run(&strip, deadline_in_ms(SHORT_TIMEOUT_MS), err) < 0)
		return error_wrap(err, "take the symbols out of the kernel");
	return 0;
}
