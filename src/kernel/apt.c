#include "kernel/apt.h"

#include <string.h>

#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define APT_TIMEOUT_MS	  1800000
#define UNPACK_TIMEOUT_MS 300000

/* apt.conf(5). The sandbox user is for root's shared cache; here everything belongs to whoever runs ember. The host's
 * hooks are for the host's lists: they may not be run by other users, and what they report is not about ours. */
static int write_config(const char *work_dir, char **out_path, Error **err)
{
	static const char *const directories[] = { "state/lists/partial",
						   "cache/archives/partial" };
	auto_free char *path = path_join(work_dir, "apt.conf");
	auto_free char *text = xasprintf("#clear APT::Update::Pre-Invoke;\n"
					 "#clear APT::Update::Post-Invoke;\n"
					 "#clear APT::Update::Post-Invoke-Success;\n"
					 "Dir::State \"%s/state\";\n"
					 "Dir::State::status \"/var/lib/dpkg/status\";\n"
					 "Dir::Cache \"%s/cache\";\n"
					 "Dir::Log \"%s\";\n"
					 "APT::Sandbox::User \"root\";\n"
					 "APT::Update::Error-Mode \"any\";\n"
					 "Acquire::Languages \"none\";\n"
					 "Acquire::Retries \"3\";\n",
					 work_dir, work_dir, work_dir);

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		auto_free char *dir = path_join(work_dir, directories[i]);

		if (fs_mkdir_all(dir, 0700, err) < 0)
			return -1;
	}
	if (fs_write_atomic(path, text, strlen(text), 0600, false, err) < 0)
		return -1;
	*out_path = steal(&path);
	return 0;
}

/* -c, not APT_CONFIG: a file named there is read before the host's, which would win. */
static int run_apt(const char *work_dir, Command *cmd, Error **err)
{
	auto_free char *config = NULL;

	if (write_config(work_dir, &config, err) < 0)
		return -1;
	command_add(cmd, "-c");
	command_add(cmd, config);
	/* Its own temporary files survive an interruption: here they go with the rest. */
	command_add_env(cmd, "TMPDIR", work_dir);
	if (command_run_writer(cmd, deadline_in_ms(APT_TIMEOUT_MS), "write what was fetched",
			       err) == 0)
		return 0;
	return error_hint(err, "see whether packages can be fetched: apt-get update");
}

int apt_update(const char *work_dir, Error **err)
{
	auto_command Command cmd = { 0 };

	command_init(&cmd, "apt-get", "update", "-qq", NULL);
	return run_apt(work_dir, &cmd, err);
}

int apt_dependency(const char *work_dir, const char *package, const char *prefix, char **out_name,
		   Error **err)
{
	auto_command Command cmd = { 0 };
	char *line, *rest;

	command_init(&cmd, "apt-cache", "depends", "--important", package, NULL);
	cmd.capture = true;
	if (run_apt(work_dir, &cmd, err) < 0) {
		error_hint(err, "name a kernel of your own: --kernel PATH");
		return error_wrap(err, "look up package '%s'", package);
	}
	rest = cmd.output.text;
	while (rest && (line = strsep(&rest, "\n"))) {
		static const char key[] = "Depends: ";
		const char *name = strstr(line, key);

		if (!name || !str_starts_with(name + sizeof(key) - 1, prefix))
			continue;
		*out_name = xstrdup(name + sizeof(key) - 1);
		return 0;
	}
	error_set(err, ERR_NOT_FOUND, "package '%s' names no kernel", package);
	return error_hint(err, "name a kernel of your own: --kernel PATH");
}

int apt_candidate(const char *work_dir, const char *package, char **out_version, Error **err)
{
	static const char key[] = "  Candidate: ";
	auto_command Command cmd = { 0 };
	const char *at;

	command_init(&cmd, "apt-cache", "policy", package, NULL);
	cmd.capture = true;
	if (run_apt(work_dir, &cmd, err) < 0)
		return error_wrap(err, "look up package '%s'", package);
	at = strstr(strbuf_str(&cmd.output), key);
	if (!at)
		return error_set(err, ERR_NOT_FOUND, "there is no package '%s'", package);
	at += sizeof(key) - 1;
	*out_version = xstrndup(at, strcspn(at, "\n"));
	return 0;
}

/* apt-get download writes into its working directory, under a name that holds the version. */
static int find_package(const char *dir, const char *package, char **out_path, Error **err)
{
	auto_free char *prefix = xasprintf("%s_", package);
	auto_strv Strv names = { 0 };

	if (fs_list(dir, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		if (!str_starts_with(names.items[i], prefix) ||
		    !str_ends_with(names.items[i], ".deb"))
			continue;
		*out_path = path_join(dir, names.items[i]);
		return 0;
	}
	return error_set(err, ERR_FAILED, "apt-get did not leave package '%s' in '%s'", package,
			 dir);
}

static int fetch_and_unpack(const char *work_dir, const char *package, const char *download,
			    const char *into, Error **err)
{
	auto_free char *deb = NULL;
	auto_command Command fetch = { 0 };
	auto_command Command unpack = { 0 };

	command_init(&fetch, "apt-get", "download", "-qq", package, NULL);
	fetch.dir = download;
	if (run_apt(work_dir, &fetch, err) < 0 || find_package(download, package, &deb, err) < 0)
		return error_wrap(err, "fetch package '%s'", package);
	command_init(&unpack, "dpkg-deb", "-x", deb, into, NULL);
	if (command_run_writer(&unpack, deadline_in_ms(UNPACK_TIMEOUT_MS), "write its files", err) <
	    0)
		return error_wrap(err, "unpack package '%s'", package);
	return 0;
}

int apt_unpack(const char *work_dir, const char *package, const char *into, Error **err)
{
	auto_free char *download = path_join(work_dir, "download");
	int result;

	if (fs_remove_tree(download, err) < 0 || fs_mkdir(download, 0700, err) < 0)
		return -1;
	result = fetch_and_unpack(work_dir, package, download, into, err);
	(void)fs_remove_tree(download, NULL);
	return result;
}
