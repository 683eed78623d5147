# The built-in image for development, once: 40 seconds of packages and one boot. What ember itself does for it is the same
# as for the smaller one, which every run makes, so the run under the sanitizers leaves it out.
load lib

setup_file() {
	[ -z "${EMBER_SANITIZED-}" ] || return 0
	new_state
	ember image build dev --variant dev --package jq
	boot dev dev
	until_true 120 settled dev
}

setup() {
	[ -z "${EMBER_SANITIZED-}" ] || skip "made once, in the run without sanitizers"
}

teardown_file() {
	drop_state
}

# The agent is there before systemd is.
settled() {
	ember exec "$1" -- sh -c 'case $(systemctl is-system-running) in running | degraded) exit 0 ;; esac; exit 1' 2>/dev/null
}

as_debian() {
	ember exec --user debian dev -- "$@"
}

@test "the record says what it was made of" {
	expect 0 ember image inspect dev --format json
	json '.reference == "local:bookworm/dev+jq" and .has_init'
	expect 0 ember image build dev --variant dev --package jq
	contains "$output" "already exists"
	expect 4 ember image build dev --variant dev
}

@test "systemd comes up, and all of it" {
	expect 0 ember exec dev -- systemctl is-system-running
	equal "$output" running
	expect 0 ember exec dev -- systemctl --failed --no-legend
	equal "$output" ""
}

@test "sshd listens, with keys that were made by this machine" {
	expect 0 ember exec dev -- bash -c 'exec 3<>/dev/tcp/127.0.0.1/22 && head -c 7 <&3'
	contains "$output" SSH-2.0
	expect 0 ember exec dev -- sh -c 'cat /etc/ssh/ssh_host_ed25519_key.pub'
	contains "$output" "ssh-ed25519" "root@dev"
	run debugfs -R 'ls /etc/ssh' "$(ember image inspect dev --format json | jq -r .disk_path)"
	[[ $output != *host* ]]
	contains "$output" sshd_config
}

@test "the user: uid 1000, bash, a home, and sudo without a password; root has no password" {
	expect 0 as_debian id -un
	equal "$output" debian
	expect 0 as_debian sudo -n id -u
	equal "$output" 0
	expect 0 ember exec dev -- getent passwd debian
	equal "$output" "debian:x:1000:1000::/home/debian:/bin/bash"
	expect 0 as_debian sh -c 'test -w ~ && test -e ~/.bashrc'
	expect 0 ember exec dev -- getent shadow root
	contains "$output" 'root:*:'
}

@test "tools: a compiler, git, python3, curl, an editor, and the package that was added" {
	expect 0 as_debian sh -c 'cd && echo "int main(void){return 42;}" >a.c && gcc a.c -o a && ./a; echo $?'
	equal "$output" 42
	expect 0 as_debian sh -c 'cd && git init -q repo && python3 -c "print(6 * 7)" && curl --version | head -n 1'
	contains "$output" 42 curl
	expect 0 as_debian bash -c 'command -v vi less ip ps make jq && make --version'
	contains "$output" /usr/bin/jq "GNU Make"
}

@test "eth0 is as ember-guest made it, and dpkg flushes its files again" {
	expect 0 ember exec dev -- sh -c 'systemctl is-enabled systemd-networkd; ip -br -4 address show eth0'
	contains "$output" disabled UP
	expect 1 ember exec dev -- grep -rq unsafe-io /etc/dpkg
	expect 0 ember exec dev -- dpkg --audit
	equal "$output" ""
}

@test "a fork is a machine of its own: other host keys" {
	local before

	before=$(ember exec dev -- cat /etc/ssh/ssh_host_ed25519_key.pub)
	ember exec dev -- sync
	ember vm stop dev
	ember vm fork dev twin
	until_true 120 settled twin
	expect 0 ember exec twin -- cat /etc/ssh/ssh_host_ed25519_key.pub
	contains "$output" root@twin
	[ "${output% *}" != "${before% *}" ]
}
