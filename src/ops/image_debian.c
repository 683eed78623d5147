/*
 * The built-in Debian image: mmdebstrap's tar goes straight into the image writer, no container engine and no temporary
 * root.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/image_apt.h"
#include "ops/image_build.h"
#include "ops/image_make.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define DEFAULT_SUITE "bookworm"
#define LOG_MAX	      (1U << 20)
#define LOG_TAIL_MAX  2000

/* How much of Debian. */
typedef struct Variant {
	const char *name;
	const char *packages; /* beside the smallest set that has apt */
	const char *hooks[8]; /* shell, run with the root as $1 in the end; NULL-terminated */
} Variant;

/* A VM is a machine of its own, and so is each of its forks: when the identity that ember-guest gave it is a new one, the
 * host keys are too. RSA is left out: it takes longer than the rest of the boot where there is no KVM. ssh-keygen refuses to
 * overwrite a key that is there. */
#define HOST_KEYS_UNIT                                                                             \
	"[Unit]\\n"                                                                                \
	"Description=SSH host keys of this very machine\\n"                                        \
	"Before=ssh.service\\n"                                                                    \
	"\\n"                                                                                      \
	"[Service]\\n"                                                                             \
	"Type=oneshot\\n"                                                                          \
	"RemainAfterExit=yes\\n"                                                                   \
	"ExecStart=-/bin/sh -c \"test ! -e /var/lib/ember/id || "                                  \
	"cmp -s /var/lib/ember/id /etc/ssh/host_keys_of || rm -f /etc/ssh/ssh_host_*\"\\n"         \
	"ExecStart=-/usr/bin/ssh-keygen -q -t ed25519 -N \"\" -f /etc/ssh/ssh_host_ed25519_key\\n" \
	"ExecStart=-/usr/bin/ssh-keygen -q -t ecdsa -N \"\" -f /etc/ssh/ssh_host_ecdsa_key\\n"     \
	"ExecStart=-/bin/cp /var/lib/ember/id /etc/ssh/host_keys_of\\n"                            \
	"\\n"                                                                                      \
	"[Install]\\n"                                                                             \
	"WantedBy=multi-user.target\\n"                                                            \
	"RequiredBy=ssh.service\\n"

static const Variant variants[] = {
	{ .name = "minbase" },
	{ .name = "dev",
	  /* udev: without it systemd waits in vain for the console and other devices. */
	  .packages = "systemd-sysv,udev,dbus,libpam-systemd,openssh-server,git,python3,"
		      "build-essential,sudo,curl,ca-certificates,less,vim-tiny,iproute2,procps",
	  .hooks = {
		  "chroot \"$1\" useradd --uid 1000 --user-group --groups sudo,adm --create-home "
		  "--shell /bin/bash debian",
		  "printf 'debian ALL=(ALL:ALL) NOPASSWD: ALL\\n' >\"$1/etc/sudoers.d/debian\" && "
		  "chmod 440 \"$1/etc/sudoers.d/debian\"",
		  "rm -f \"$1\"/etc/ssh/ssh_host_*",
		  "printf '" HOST_KEYS_UNIT "' >\"$1/etc/systemd/system/ssh-host-keys.service\"",
		  "systemctl --root=\"$1\" enable --quiet ssh-host-keys.service",
		  /* It looks for snapshots of LVM, at each boot. */
		  "systemctl --root=\"$1\" disable --quiet e2scrub_reap.service e2scrub_all.timer",
		  "systemctl --root=\"$1\" set-default --quiet multi-user.target",
	  } },
};

static const Variant *find_variant(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		if (!name || !strcmp(name, variants[i].name))
			return &variants[i];
	return NULL;
}

static const char *suite_of(const BuildOptions *options)
{
	return options->suite ? options->suite : DEFAULT_SUITE;
}

/* A name as apt takes it, a version or release included; nothing that mmdebstrap or apt would read as something else. */
static int check_package(const char *name, Error **err)
{
	bool is_good = isalnum((unsigned char)*name) && strlen(name) > 1;

	for (const char *c = name; *c && is_good; c++)
		is_good = isalnum((unsigned char)*c) || strchr("+-.:=/~_", *c);
	if (is_good)
		return 0;
	error_set(err, ERR_USAGE, "--package: '%s' is not the name of a package", name);
	return error_hint(err, "give one name each time: --package nginx --package jq");
}

static char *reference_of(const BuildOptions *options, const Variant *variant)
{
	auto_strbuf Strbuf text = { 0 };

	strbuf_addf(&text, "local:%s/%s", suite_of(options), variant->name);
	for (size_t i = 0; options->packages && i < options->packages->count; i++)
		strbuf_addf(&text, "+%s", options->packages->items[i]);
	return strbuf_take(&text);
}

int image_debian_plan(const BuildOptions *options, BuildPlan *plan, Error **err)
{
	const Variant *variant = find_variant(options->variant);
	auto_free char *program = NULL;

	if (!variant) {
		error_set(err, ERR_USAGE, "--variant: '%s' is unknown", options->variant);
		return error_hint(err, "the variants are --variant minbase and --variant dev");
	}
	for (size_t i = 0; options->packages && i < options->packages->count; i++)
		if (check_package(options->packages->items[i], err) < 0)
			return -1;
	program = program_find("mmdebstrap");
	if (!program) {
		error_set(err, ERR_MISSING_TOOL, "'mmdebstrap' is not installed");
		return error_hint(err, "install it: apt-get install mmdebstrap");
	}
	plan->reference = reference_of(options, variant);
	return 0;
}

/* mmdebstrap takes a signal to itself for one that its children got too, and waits for them. So a shell leads the
 * session and passes on to all of them the SIGTERM that it gets when we die, or from us. */
#define LEADER "trap 'trap \"\" TERM; kill -s TERM 0; wait $!; exit 143' TERM; \"$@\" & wait $!"

static void add_words(Command *cmd)
{
	static const char *const words[] = {
		"--format=tar",
		"--variant=minbase",
		/* documentation and translations of an image that nobody reads in; copyright files stay */
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-include=/usr/share/doc/*/copyright",
		/* a root that is about to become a tar need not survive a power cut */
		"--setup-hook=echo force-unsafe-io >\"$1/etc/dpkg/dpkg.cfg.d/unsafe-io\"",
		"--customize-hook=rm \"$1/etc/dpkg/dpkg.cfg.d/unsafe-io\"",
	};

	command_add(cmd, "-c");
	command_add(cmd, LEADER);
	command_add(cmd, "sh");
	command_add(cmd, "mmdebstrap");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		command_add(cmd, words[i]);
}

/* A name that is none would only come out when all else is installed; apt is asked as soon as it can tell. */
static void add_packages(Command *cmd, const Strv *packages)
{
	auto_free char *all = NULL;

	if (!packages || !packages->count)
		return;
	for (size_t i = 0; i < packages->count; i++)
		command_addf(cmd, "--include=%s", packages->items[i]);
	all = strv_join(packages, " ");
	command_addf(
		cmd,
		"--extract-hook=APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq --simulate install %s "
		">/dev/null",
		all);
}

static int start_debootstrap(const BuildOptions *options, int tar_fd, int log_fd, pid_t *out_pid,
			     Error **err)
{
	const Variant *variant = find_variant(options->variant);
	auto_command Command cmd = { 0 };
	auto_strv Strv sources = { 0 };

	if (command_init_tool(&cmd, "sh", err) < 0)
		return -1;
	add_words(&cmd);
	if (variant->packages)
		command_addf(&cmd, "--include=%s", variant->packages);
	add_packages(&cmd, options->packages);
	for (size_t i = 0; variant->hooks[i]; i++)
		command_addf(&cmd, "--customize-hook=%s", variant->hooks[i]);
	command_add(&cmd, "--");
	command_add(&cmd, suite_of(options));
	command_add(&cmd, "-");
	if (options->mirror)
		command_add(&cmd, options->mirror);
	else
		image_apt_sources(suite_of(options), &sources);
	for (size_t i = 0; i < sources.count; i++)
		command_add(&cmd, sources.items[i]);
	cmd.stdout_fd = tar_fd;
	cmd.stderr_fd = log_fd;
	cmd.new_session = true; /* so that it and its children can be ended together */
	return command_spawn(&cmd, out_pid, err);
}

/* What mmdebstrap says of its progress explains nothing. */
static char *without_progress(char *log)
{
	auto_strbuf Strbuf text = { 0 };
	char *rest = log;

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		if (!*line || str_starts_with(line, "I: "))
			continue;
		strbuf_adds(&text, line);
		strbuf_addc(&text, '\n');
	}
	return xstrdup(strbuf_str(&text));
}

/* Its verdict matters more than the writer's: a root that ends early is often a download that failed. */
static int finish_debootstrap(pid_t pid, bool stop_it, const char *log, Error **err)
{
	ProcEnd end = { .pid = pid, .signum = stop_it ? SIGTERM : 0, .is_leader = true };
	auto_free char *text = NULL;
	size_t len = 0;
	int raw = proc_end(&end);

	if (end.out_was_ended || (WIFEXITED(raw) && WEXITSTATUS(raw) == 0))
		return 0;
	error_set(err, ERR_FAILED, "mmdebstrap could not make the Debian root");
	if (fs_read(log, LOG_MAX, &text, &len, NULL) == 0) {
		auto_free char *causes = without_progress(text);
		size_t kept = strlen(causes);

		error_detail(err, causes + (kept > LOG_TAIL_MAX ? kept - LOG_TAIL_MAX : 0));
	}
	return error_hint(err, "see whether packages can be fetched: apt-get update");
}

int image_debian_make(Context *ctx, const BuildPlan *plan, Image *image, const char *dir,
		      Error **err)
{
	auto_free char *log = path_join(dir, "mmdebstrap.log");
	auto_fd log_fd = -1;
	auto_fd read_end = -1;
	auto_fd write_end = -1;
	ImageSource source = { 0 };
	auto_error builder = NULL;
	int ends[2], result;
	pid_t pid;

	log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log_fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "prepare the build");
	read_end = ends[0];
	write_end = ends[1];
	report_step(ctx, "fetch Debian packages and write image '%s'", image->name);
	if (start_debootstrap(plan->options, write_end, log_fd, &pid, err) < 0)
		return -1;
	close_fd(&write_end);
	source.tar_fd = read_end;
	result = image_write(ctx, image, &source, err);
	if (result == 0)
		close_fd(&read_end);
	if (finish_debootstrap(pid, result < 0, log, &builder) < 0 &&
	    error_code(err ? *err : NULL) != ERR_CANCELED) {
		if (result < 0 && err)
			error_clear(err);
		error_move(err, &builder);
		return -1;
	}
	return result < 0 ? -1 : fs_remove(log, err);
}
