# The installation as a whole: made, looked at, mended, taken down; and bad days: full disks, corrupt
# records, many at once, Ctrl-C, no root.
load lib

setup_file() {
	new_state
}

teardown_file() {
	drop_state
}

@test "version and help" {
	expect 0 ember version
	contains "$output" ember "0."
	expect 0 ember version --format json
	json '.version'
	expect 0 ember --help
	contains "$output" vm image exec
	expect 0 ember vm create --help
	contains "$output" --memory
}

@test "what was mistyped gets what was meant: exit 2" {
	expect 2 ember vm crate
	contains "$stderr" create
	expect 2 ember vm create x --imgae busybox
	contains "$stderr" "--image"
	expect 2 ember nosuchthing
	contains "$stderr" "hint: "
	expect 2 ember
}

@test "completion for three shells" {
	local shell

	for shell in bash zsh fish; do
		expect 0 ember completion "$shell"
		contains "$output" ember
	done
	expect 0 bash -nc "$(ember completion bash)"
	expect 2 ember completion tcsh
}

@test "a file that is not there, a kernel that is not: where to look" {
	cd "$BATS_TEST_TMPDIR"
	expect 3 ember image import n1 nofile
	explains "No such file" "ls -l '.'"
	expect 3 ember kernel delete nope
	explains "no kernel 'nope'" "ember kernel list"
	mkdir dir
	expect 2 ember kernel build --config dir
	explains "'dir' is not a file"
}

@test "init again: exit 4, how to undo it" {
	expect 4 ember init
	explains "already initialized" "deinit"
}

@test "an installation that is not there: list is empty, info says so, neither makes anything" {
	local none=$BATS_TEST_TMPDIR/none

	expect 0 ember -s "$none" vm list
	contains "$output" "No VMs found"
	expect 0 ember -s "$none" vm list --format json
	equal "$output" "[]"
	expect 3 ember -s "$none" info
	contains "$stderr" "not initialized" "ember init"
	expect 0 ember -s "$none" deinit
	contains "$output" "not initialized"
	[ ! -e "$none" ]
}

@test "info: what was chosen, and how much there is" {
	expect 0 ember info
	contains "$output" "$EMBER_STATE_DIR" reflink
	expect 0 ember info --format json
	json '.state_dir and .storage'
}

@test "doctor: a table of checks, and JSON" {
	run --separate-stderr ember doctor
	[ "$status" -le 1 ]
	contains "$output" kvm
	run --separate-stderr ember doctor --format json
	json '(.checks // .) | length > 3'
}

@test "doctor: every tool that a command needs, with the package that has it" {
	local tool nowhere=$TMPDIR/nowhere

	mkdir "$nowhere"
	run --separate-stderr env PATH="$nowhere" "$EMBER" doctor --format json
	for tool in mmdebstrap:mmdebstrap newuidmap:uidmap skopeo:skopeo qemu-img:qemu-utils lz4:lz4 xz:xz-utils zstd:zstd apt-get:apt \
		dpkg-deb:dpkg; do
		json '.checks | any(.name == "'"${tool%:*}"'" and .result == "warn" and .mend == "install it: apt-get install '"${tool#*:}"'")'
	done
	# Copies of disks in a store of qcow2 are made without it.
	json '.checks | any(.name == "qemu-img" and .finding
		== "missing: import and export of disks in qcow2 needs it")'
	json '.checks | any(.name == "container engine" and .result == "warn" and (.mend | contains("buildah")))'
	rmdir "$nowhere"
}

@test "kernel list has the one that was fetched" {
	expect 0 ember kernel list
	contains "$output" stock
	expect 0 ember kernel list --format json
	json '.kernels[0] | .name and .path and .version'
}

@test "deinit --purge takes what an earlier deinit has kept" {
	local state=$BATS_TEST_TMPDIR/kept

	expect 0 ember -s "$state" init
	mkdir -p "$state/blobs/sha256" "$state/kernels/.apt"
	expect 0 ember -s "$state" deinit
	[ -e "$state/ember.state" ]
	expect 0 ember -s "$state" deinit
	contains "$output" "not initialized"
	expect 0 ember -s "$state" deinit --purge
	contains "$output" deinitialized
	[ ! -e "$state" ]
	expect 0 ember -s "$state" deinit --purge
	contains "$output" "not initialized"
}

@test "an init that fails leaves the user's own directory" {
	local mine=$BATS_TEST_TMPDIR/mine

	mkdir "$mine"
	EMBER_FAIL_AT=init.storage expect 1 ember -s "$mine" init
	[ -d "$mine" ]
	equal "$(ls -A "$mine")" ""
	rmdir "$mine"
	EMBER_FAIL_AT=init.storage expect 1 ember -s "$mine" init
	[ ! -e "$mine" ]
}

@test "init --storage btrfs: a store that is mounted, survives an umount, and goes with deinit --purge" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/managed

	mkdir -p "$EMBER_STATE_DIR"
	expect 0 ember init --storage btrfs --size 4G
	contains "$output" btrfs
	grep -q "$EMBER_STATE_DIR/store btrfs" /proc/self/mounts
	expect 0 ember image pull "oci:$OCI/busybox:latest" --name busybox
	expect 0 ember vm create kept --image busybox "${SMALL[@]}" --no-start
	umount "$EMBER_STATE_DIR/store"
	expect 0 ember vm fork kept copy --no-start
	equal "$(losetup -a | grep -c "$EMBER_STATE_DIR")" 1
	expect 4 ember deinit
	explains "kept" "copy"
	expect 0 ember vm delete kept copy
	expect 0 ember deinit
	contains "$output" deinitialized
	run grep -c "$EMBER_STATE_DIR" /proc/self/mounts
	equal "$output" 0
	expect 0 ember init --storage btrfs
	expect 0 ember vm create kept --image busybox "${SMALL[@]}" --no-start
	ember vm delete kept
	expect 0 ember deinit --purge
	equal "$(losetup -a | grep -c "$EMBER_STATE_DIR")" 0
	[ ! -e "$EMBER_STATE_DIR" ]
}

@test "init --storage xfs: the same with XFS" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/managed-xfs

	mkdir -p "$EMBER_STATE_DIR"
	expect 0 ember init --storage xfs --size 4G
	expect 0 ember image pull "oci:$OCI/busybox:latest" --name busybox
	expect 0 ember vm create one --image busybox "${SMALL[@]}" --no-start
	expect 0 ember vm fork one two --no-start
	ember vm delete one two
	expect 0 ember deinit --purge
	run grep -c "$EMBER_STATE_DIR" /proc/self/mounts
	equal "$output" 0
}

@test "init with the automatic choice says why" {
	[ "$(id -u)" -eq 0 ] || skip "the choice depends on the file system below"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/auto

	mkdir -p "$EMBER_STATE_DIR"
	expect 0 ember init
	contains "$output" storage hypervisor network
	[[ $output != *"("*"("*")"*")"*$'\nhypervisor'* ]]
	expect 0 ember deinit --purge
}

@test "a store that is unknown, a size that is none: exit 2, nothing made" {
	local none=$BATS_TEST_TMPDIR/none

	expect 2 ember -s "$none" init --storage floppy
	contains "$stderr" btrfs
	expect 2 ember -s "$none" init --storage btrfs --size 4
	expect 2 ember -s "$none" init --storage reflink --size 4G
	explains "takes no --size" "--storage btrfs"
	expect 2 ember -s "$none" init --storage reflink --storage-path "$BATS_TEST_TMPDIR/file"
	explains "takes no --storage-path"
	[ ! -e "$none" ]
	# One that is refused after the directories were made, too.
	EMBER_FAIL_AT=init.storage expect 1 ember -s "$none" init
	[ ! -e "$none" ]
}

@test "a full disk: a clear error, nothing left, and the others work" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/full

	mkdir -p "$EMBER_STATE_DIR"
	truncate -s 320M "$EMBER_STATE_DIR.fs"
	mkfs.xfs -q "$EMBER_STATE_DIR.fs"
	mount -o loop "$EMBER_STATE_DIR.fs" "$EMBER_STATE_DIR"
	ember init --storage reflink
	ember image pull "oci:$OCI/busybox:latest" --name busybox
	cp -a "$EMBER_TEST_CACHE/fs/base/kernels" "$EMBER_STATE_DIR/"
	ember vm create web --image busybox "${SMALL[@]}" --wait
	ember vm create idle --image busybox "${SMALL[@]}" --wait
	dd if=/dev/zero of="$EMBER_STATE_DIR/filler" bs=1M status=none || true
	dd if=/dev/zero of="$EMBER_STATE_DIR/filler2" bs=512 status=none || true
	run --separate-stderr ember image pull "oci:$OCI/busybox:latest" --name second
	[ "$status" -eq 1 ]
	explains
	contains "$stderr" "space"
	# The same by way of skopeo and the blob cache, where there is room to begin.
	truncate -s -500K "$EMBER_STATE_DIR/filler"
	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$BATS_TEST_TMPDIR/box.tar" 3>&-
	expect 1 ember image pull "docker-archive:$BATS_TEST_TMPDIR/box.tar" --name second
	explains "there is more in it than the disk has room for" "ember image prune"
	dd if=/dev/zero of="$EMBER_STATE_DIR/filler3" bs=512 status=none || true
	# Who would make room stops what runs.
	expect 0 ember vm stop web
	expect 0 ember vm stop --force idle
	equal "$(status_of web) $(status_of idle)" "stopped stopped"
	assert_no_processes
	expect 0 ember vm list
	expect 0 ember image list
	rm "$EMBER_STATE_DIR"/filler*
	assert_no_leftovers
	ember vm start web
	ember vm delete --force web idle
	expect 0 ember image pull "oci:$OCI/busybox:latest" --name second
	ember image delete second
	umount "$EMBER_STATE_DIR"
	rm -rf "$EMBER_STATE_DIR" "$EMBER_STATE_DIR.fs"
}

@test "a corrupt vm.json: that VM is broken, the others work" {
	local content

	ember vm create sound --image busybox "${SMALL[@]}" --no-start
	for content in '' '{' '[]' '{"schema":1}' '{"schema":99,"name":"hurt"}' $'\xff\xfe' 'null'; do
		ember vm create hurt --image busybox "${SMALL[@]}" --no-start
		printf '%s' "$content" >"$EMBER_STATE_DIR/vms/hurt/vm.json"
		expect 0 ember vm list --format json
		json 'map(select(.name == "hurt"))[0].status == "broken"'
		json 'map(select(.name == "sound"))[0].status == "created"'
		run --separate-stderr ember vm start hurt
		refused
		contains "$stderr" "'hurt'" "hint: "
		expect 0 ember vm create third --image busybox "${SMALL[@]}" --no-start
		ember vm delete third
		expect 0 ember vm delete --force hurt
		expect 3 ember vm inspect hurt
	done
	expect 0 ember reconcile
	assert_no_leftovers
	ember vm delete sound
}

@test "a config.json of a newer ember is refused" {
	cp "$EMBER_STATE_DIR/config.json" "$BATS_TEST_TMPDIR/config"
	jq '.schema = 99' "$BATS_TEST_TMPDIR/config" >"$EMBER_STATE_DIR/config.json"
	run --separate-stderr ember vm create x --image busybox --no-start
	cp "$BATS_TEST_TMPDIR/config" "$EMBER_STATE_DIR/config.json"
	refused
	contains "$stderr" "hint: "
}

@test "20 creates of different names at once all succeed" {
	local i pids=()

	for i in $(seq 20); do
		ember vm create "par-$i" --image busybox "${SMALL[@]}" --no-start >/dev/null &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	expect 0 ember vm list --format json
	json '[.[] | select(.name | startswith("par-"))] | length == 20 and (map(.id) | unique | length == 20)'
	# shellcheck disable=SC2046 # one name a word
	ember vm delete $(seq -f 'par-%g' 20)
	assert_no_leftovers
}

@test "20 creates of one name at once: exactly one succeeds, the others say why" {
	local i pids=() good=0

	for i in $(seq 20); do
		ember vm create same --image busybox "${SMALL[@]}" --no-start >/dev/null 2>"$BATS_TEST_TMPDIR/$i" &
		pids[i]=$!
	done
	for i in $(seq 20); do
		local status=0

		wait "${pids[i]}" || status=$?
		if [ "$status" -eq 0 ]; then
			good=$((good + 1))
		else
			equal "$status" 4
			contains "$(cat "$BATS_TEST_TMPDIR/$i")" "'same'" "hint: "
		fi
	done
	equal "$good" 1
	ember vm delete same
	assert_no_leftovers
}

@test "Ctrl-C during create: 130, nothing left" {
	local pid status=0

	env --default-signal=INT "$EMBER" vm create stopped-early --image busybox "${SMALL[@]}" --wait 3>&- &
	pid=$!
	until_true 20 test -e "$EMBER_STATE_DIR/vms/stopped-early"
	kill -INT "$pid"
	wait "$pid" || status=$?
	equal "$status" 130
	ember vm delete --force stopped-early
	assert_no_leftovers
	assert_no_processes
}

@test "Ctrl-C during a build: 130, nothing left" {
	local pid status=0

	env --default-signal=INT "$EMBER" image build interrupted 3>&- &
	pid=$!
	builds() {
		processes | xargs -r ps -o comm= -p | grep -q mmdebstrap
	}
	until_true 30 builds
	sleep 1
	kill -INT "$pid"
	wait "$pid" || status=$?
	equal "$status" 130
	expect 3 ember image inspect interrupted
	assert_no_leftovers
	assert_no_processes
}

@test "reconcile on a sound installation has nothing to do" {
	expect 0 ember reconcile
	expect 0 ember reconcile --dry-run --format json
	json '(.actions // .) | length == 0 or . == []' || [ "$output" = '[]' ]
}

@test "reconcile takes away a volume that no record names" {
	local orphan=$EMBER_STATE_DIR/store/01234567-89ab-4def-8123-456789abcdef.raw

	truncate -s 1M "$orphan"
	expect 0 ember reconcile --dry-run
	contains "$output" 01234567
	[ -e "$orphan" ]
	expect 0 ember reconcile
	[ ! -e "$orphan" ]
}

@test "reconcile calls no volume an orphan while another command may be changing its record" {
	local orphan=$EMBER_STATE_DIR/store/01234567-89ab-4def-8123-456789abcdef.raw

	truncate -s 1M "$orphan"
	exec 8>"$EMBER_STATE_DIR/locks/store-use.lock"
	flock -s 8
	expect 0 ember reconcile 8>&-
	contains "$output" "volumes are not looked at"
	expect 0 ember reconcile --format json 8>&-
	json '.actions == ["volumes are not looked at while other commands run"]'
	[ -e "$orphan" ]
	exec 8>&-
	expect 0 ember reconcile
	[ ! -e "$orphan" ]
}

# renames_under COMMAND...: it is run again and again while one of many VMs changes its name.
renames_under() {
	local i round pid

	for i in $(seq 40); do
		name_one "many-$i"
	done
	ember vm create v1 --image busybox "${SMALL[@]}" --no-start
	(
		while [ ! -e "$BATS_TEST_TMPDIR/enough" ]; do
			"$EMBER" vm rename v1 aa1 && "$EMBER" vm rename aa1 v1
		done >/dev/null 3>&-
	) &
	pid=$!
	for round in $(seq 30); do
		"$@" || break
	done
	touch "$BATS_TEST_TMPDIR/enough"
	wait "$pid"
	equal "$round" 30
}

# A directory is read name by name, so that a rename may hide a record; many others make that likely. These have no disks.
name_one() {
	local dir=$EMBER_STATE_DIR/vms/$1

	mkdir "$dir"
	jq -n --arg name "$1" --arg id "$(cat /proc/sys/kernel/random/uuid)" '{ schema: 1, name: $name, id: $id,
		status: "created", cpus: 1, memory_mib: 256, disk_size_mib: 1024 }' >"$dir/vm.json"
}

@test "reconcile and storage usage while a VM is renamed all the time: its disk stays, and is nobody else's" {
	look() {
		expect 0 ember reconcile && [[ $output != *orphan* ]] &&
			expect 0 ember storage usage --format json && json '.orphans == {}'
	}
	renames_under look
	[ -e "$(field v1 .disk_path)" ]
	ember vm delete v1
	rm -r "$EMBER_STATE_DIR"/vms/many-*
	assert_no_leftovers
}

@test "what is left of a change to a VM never takes the VM's own disk along" {
	local work

	ember vm create owner --image busybox "${SMALL[@]}" --no-start
	work=$EMBER_STATE_DIR/tmp/vm:owner:01234567
	mkdir "$work"
	cp "$EMBER_STATE_DIR/vms/owner/vm.json" "$work/"
	expect 0 ember reconcile
	contains "$stderr" "kept volume"
	[ ! -e "$work" ]
	[ -e "$(field owner .disk_path)" ]
	ember vm delete owner
	assert_no_leftovers
}

@test "files that are not ours in the store are left alone" {
	touch "$EMBER_STATE_DIR/store/notes.txt"
	expect 0 ember reconcile
	[ -e "$EMBER_STATE_DIR/store/notes.txt" ]
	rm "$EMBER_STATE_DIR/store/notes.txt"
}

@test "a user without privileges does all of it" {
	[ "$(id -u)" -eq 0 ] || skip "this is about becoming another user"
	local home=$EMBER_TEST_CACHE/fs/rootless
	local as=(setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR
		HOME="$home" EMBER_STATE_DIR="$home/state" EMBER_LIBEXEC_DIR="$EMBER_BUILD" TMPDIR="$home/tmp")

	mkdir -p "$home/tmp"
	chown -R 65534:65534 "$home"
	# The build directory may stand where only root can look.
	if ! "${as[@]}" test -x "$EMBER"; then
		mkdir "$home/programs"
		cp "$EMBER_BUILD"/ember* "$home/programs/" 2>/dev/null || true
		chmod -R a+rX "$home/programs"
		as+=(EMBER_LIBEXEC_DIR="$home/programs")
		as+=("$home/programs/ember")
	else
		as+=("$EMBER")
	fi
	cp -r "$OCI/busybox" "$home/oci"
	chmod -R a+rX "$home/oci"
	expect 0 "${as[@]}" init 3>&-
	contains "$output" reflink
	expect 0 "${as[@]}" image pull "oci:$home/oci:latest" --name busybox 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$home/box.tar:tools/box:1" 3>&-
	chmod a+r "$home/box.tar"
	expect 0 "${as[@]}" image pull "docker-archive:$home/box.tar" 3>&-
	contains "$output" tools-box-1
	expect 0 "${as[@]}" image prune --blobs 3>&-
	expect 0 "${as[@]}" image delete tools-box-1 3>&-
	cp -r "$EMBER_TEST_CACHE/fs/base/kernels" "$home/state/"
	chown -R 65534:65534 "$home/state/kernels"
	expect 0 "${as[@]}" vm create mine --image busybox --memory 256M --wait 3>&-
	expect 0 "${as[@]}" exec mine -- echo hello 3>&-
	equal "$output" hello
	expect 0 "${as[@]}" exec mine -- sh -c 'head -c 33554432 /dev/urandom >/junk && sync && rm /junk && sync' 3>&-
	expect 0 "${as[@]}" storage trim mine --format json 3>&-
	[ "$(json .vms.mine.trimmed)" -gt 30000000 ]
	[ "$(json .store.freed)" -gt 30000000 ]
	expect 6 "${as[@]}" storage grow --size 200G 3>&-
	contains "$stderr" "no size of its own" "hint: "
	expect 0 "${as[@]}" vm stop mine 3>&-
	expect 0 "${as[@]}" vm fork mine two 3>&-
	expect 0 "${as[@]}" exec two -- echo hello 3>&-
	expect 0 "${as[@]}" vm delete --force mine two 3>&-
	expect 5 "${as[@]}" -s "$home/other" init --storage btrfs 3>&-
	contains "$stderr" "only root" "hint: " "--storage qcow2"
	[ ! -e "$home/other" ]
	expect 0 "${as[@]}" deinit --purge 3>&-
	rm -rf "$home"
}

@test "a state directory that cannot be written: exit 5 for a user" {
	[ "$(id -u)" -eq 0 ] || skip "this is about becoming another user"
	local dir=$EMBER_TEST_CACHE/fs/closed

	mkdir -p "$dir"
	cp "$EMBER_BUILD"/ember "$EMBER_TEST_CACHE/fs/ember-copy"
	expect 5 setpriv --reuid 65534 --regid 65534 --clear-groups "$EMBER_TEST_CACHE/fs/ember-copy" -s "$dir" init
	contains "$stderr" "hint: "
	rm -rf "$dir" "$EMBER_TEST_CACHE/fs/ember-copy"
}

@test "stdout that is closed or full is an error, not silence" {
	[ -e /dev/full ] || skip "no /dev/full here"
	run bash -c "'$EMBER' vm list --format json >/dev/full 3>&-"
	refused
}
