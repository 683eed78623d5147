# Snapshots: of VMs in every state, what they hold, and that a guest never stays still for longer than it must.
load lib

setup_file() {
	new_state
	boot web
	ember exec web -- sh -c 'echo first >/root/marker; sync'
}

teardown_file() {
	drop_state
}

setup() {
	[ "$(status_of web)" = running ] || ember vm start web
}

teardown() {
	[ -z "${holder-}" ] || kill -9 "$holder" 2>/dev/null || true
	ember snapshot list web --format json | jq -r '.[].name' |
		xargs -r "$EMBER" snapshot delete web >/dev/null 3>&-
	assert_no_leftovers
}

volume_of() {
	echo "$EMBER_STATE_DIR/store/$(jq -r .id "$EMBER_STATE_DIR/vms/$1/snapshots/$2/snapshot.json").raw"
}

# On a disk that came to rest there is nothing to replay.
is_at_rest() {
	e2fsck -fn "$1" >/dev/null 2>&1 && ! dumpe2fs -h "$1" 2>/dev/null | grep -q needs_recovery
}

# keep_still SERVICE VM [TIMEOUT_MS [UPLOADS]]: as `hold` says, until fd 8 is closed; $holder is its process, what it prints is in held.
keep_still() {
	rm -f "$BATS_TEST_TMPDIR/say"
	mkfifo "$BATS_TEST_TMPDIR/say"
	"$CLI_DIR/hold" "$1" "$EMBER_STATE_DIR" "${@:2}" <"$BATS_TEST_TMPDIR/say" \
		>"$BATS_TEST_TMPDIR/held" 2>&1 3>&- &
	holder=$!
	exec 8>"$BATS_TEST_TMPDIR/say"
	until_true 20 grep -q still "$BATS_TEST_TMPDIR/held"
}

# A VM without an agent, which counts on its console.
have_mute() {
	local disk

	ember vm create mute --image busybox "${SMALL[@]}" --boot-args init=/bin/count --no-start
	disk=$(field mute .disk_path)
	printf '#!/bin/sh\nn=0\nwhile :; do n=$((n + 1)); echo tick $n; sleep 0.1; done\n' >"$BATS_TEST_TMPDIR/count"
	debugfs -w -R "write $BATS_TEST_TMPDIR/count bin/count" "$disk" 2>/dev/null
	debugfs -w -R "sif /bin/count mode 0100755" "$disk" 2>/dev/null
	ember vm start mute
	until_true 20 ticks_beyond mute 3
}

ticks_beyond() {
	local now

	now=$(ember vm logs "$1" | sed -n 's/^tick \([0-9]*\).*/\1/p' | tail -n 1)
	[ "${now:-0}" -gt "$2" ]
}

goes_on() {
	local now

	now=$(ember vm logs "$1" | sed -n 's/^tick \([0-9]*\).*/\1/p' | tail -n 1)
	until_true 20 ticks_beyond "$1" "${now:-0}"
}

is_stopped() {
	grep -q '^State:.T' "/proc/$1/status"
}

@test "of a running VM: its filesystems are at rest, and it goes on" {
	expect 0 ember snapshot create web live
	equal "$output" "Created snapshot 'live' of vm 'web' (filesystem-consistent)."
	is_at_rest "$(volume_of web live)"
	expect 0 ember exec web -- sh -c 'echo later >/root/marker; sync; cat /root/marker'
	equal "$output" later
	expect 0 ember snapshot list web
	contains "$output" "NAME" "live" "8 GiB" "running" "filesystem"
	equal "$(debugfs -R 'cat /root/marker' "$(volume_of web live)" 2>/dev/null)" first
	ember exec web -- sh -c 'echo first >/root/marker; sync'
}

@test "JSON: the record, what it cost, and the list" {
	expect 0 ember snapshot create web live --format json
	json '.name == "live" and .vm_status == "running" and .memory == false and .size == 8589934592
		and .consistency == "filesystem" and .still_us > .clone_us and .clone_us > 0'
	expect 0 ember snapshot list web --format json
	json 'length == 1 and (.[0] | .name == "live" and .consistency == "filesystem" and .vm_status == "running"
		and .memory == false and .size == 8589934592 and (.created_at | fromdate) > 0)'
	expect 0 ember vm inspect web --format json
	json '.snapshots | length == 1 and .[0].name == "live"'
	expect 0 ember vm inspect web
	contains "$output" "Snapshots:        live"
	expect 0 ember storage usage --format json
	json '(.orphans // {}) == {} and .vms.web.snapshots.live.referenced > 0
		and .vms.web.referenced > .vms.web.snapshots.live.referenced'
	expect 0 ember reconcile --dry-run
	contains "$output" "Nothing to mend"
	expect 0 ember snapshot rm web live --format json
	json '. == { snapshot: "live", vm: "web", status: "deleted" }'
	expect 0 ember snapshot ls web --format json
	equal "$output" "[]"
	expect 0 ember snapshot ls web
	contains "$output" "No snapshots" "ember snapshot create web"
}

@test "what it shows with -v" {
	expect 0 ember snapshot create web live -v
	contains "$stderr" "freeze the filesystems of vm 'web'" "clone the disk of vm 'web', which was still for"
}

@test "of a guest that writes all the time: a fork of it boots, and is whole" {
	ember exec web -- sh -c 'mkdir -p /root/many
		(n=0; while [ ! -e /root/enough ]; do n=$((n + 1)); echo $n >/root/many/$((n % 500)); mv /root/many/$((n % 500)) /root/many/m$((n % 300)); echo $n >>/root/log; done) >/dev/null 2>&1 &
		(while [ ! -e /root/enough ]; do dd if=/dev/urandom of=/root/blob bs=64k count=40; done) >/dev/null 2>&1 &'
	for name in a b c; do
		expect 0 ember snapshot create web "$name" --format json
		json '.consistency == "filesystem"'
		is_at_rest "$(volume_of web "$name")"
	done
	ember exec web -- touch /root/enough
	expect 0 ember vm fork web@b copy
	contains "$output" "fork of 'web@b'"
	equal "$(field copy '"\(.parent_vm) \(.parent_snapshot)"')" "web b"
	expect 0 ember exec copy -- cat /root/marker
	equal "$output" first
	expect 0 ember exec copy -- hostname
	equal "$output" copy
	ember exec copy -- touch /root/enough
	ember vm stop copy
	is_at_rest "$(field copy .disk_path)"
	ember vm delete copy
	ember exec web -- sh -c 'rm -rf /root/many /root/blob /root/log /root/enough; sync'
}

@test "without an agent: the VM stands still for a moment, and the answer says what that is worth" {
	local pid

	have_mute
	expect 0 ember snapshot create mute torn
	equal "$output" "Created snapshot 'torn' of vm 'mute' (crash-consistent)."
	goes_on mute
	expect 0 ember snapshot list mute
	contains "$output" crash
	# Its journal is replayed when it is used.
	expect 0 ember vm fork mute@torn torn --no-start
	e2fsck -fy "$(field torn .disk_path)" >/dev/null 2>&1 || [ $? -eq 1 ]
	is_at_rest "$(field torn .disk_path)"
	ember vm delete torn
	# kill -9 in that moment: it goes on all the same.
	EMBER_KILL_AT=snapshot.clone run ember snapshot create mute dead
	goes_on mute
	ember reconcile
	# Ctrl-Z in that moment: it goes on by itself, and nothing is said of a clone that may have been made after that.
	EMBER_STOP_AT=snapshot.clone "$EMBER" snapshot create mute late 3>&- 2>"$BATS_TEST_TMPDIR/err" &
	pid=$!
	until_true 20 is_stopped "$pid"
	goes_on mute
	kill -CONT "$pid"
	waited "$pid"
	equal "$status" 8
	contains "$(cat "$BATS_TEST_TMPDIR/err")" "vm 'mute' went on before the clone of its disk was made" "ember vm stop mute"
	expect 0 ember snapshot list mute --format json
	json 'map(.name) == ["torn"]'
	# Pulling the plug leaves the same.
	ember vm stop --force mute
	expect 0 ember snapshot create mute off
	contains "$output" "crash-consistent"
	expect 0 ember vm delete mute
	equal "$output" "VM 'mute' deleted, and its 2 snapshots."
}

@test "of a VM that is paused: it stays so" {
	keep_still hold web
	expect 0 ember snapshot create web paused --format json
	json '.consistency == "crash"'
	run timeout 1 "$EMBER" exec web -- true 3>&-
	[ "$status" -ne 0 ]
	exec 8>&-
	wait "$holder"
	expect 0 ember exec web -- true
}

@test "kill -9 of keeper and command while a VM stands still: the next command lets it run" {
	keep_still hold web
	kill -9 "$(pgrep -f "ember-keeper.*$EMBER_STATE_DIR/vms/web/")"
	exec 8>&-
	wait "$holder" || true
	expect 0 ember exec web -- true
}

@test "frozen: the agent answers, what writes waits, and goes on with the thaw" {
	local began

	keep_still freeze web
	expect 0 ember exec web -- cat /root/marker
	equal "$output" first
	"$EMBER" exec web -- sh -c 'echo x >/root/waits' 3>&- 8>&- &
	writer=$!
	head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/blob"
	"$EMBER" cp "$BATS_TEST_TMPDIR/blob" web:/root/blob 3>&- 8>&- >/dev/null &
	copier=$!
	sleep 1
	kill -0 "$writer"
	kill -0 "$copier"
	expect 0 ember exec web -- cat /root/marker
	began=$SECONDS
	exec 8>&-
	wait "$holder"
	[[ $(cat "$BATS_TEST_TMPDIR/held") != *expired* ]]
	wait "$writer"
	wait "$copier"
	[ $((SECONDS - began)) -le 10 ]
	expect 0 ember exec web -- sha256sum /root/blob
	equal "${output%% *}" "$(sha256sum <"$BATS_TEST_TMPDIR/blob" | cut -d ' ' -f 1)"
	ember exec web -- rm /root/blob /root/waits
}

@test "frozen, with more uploads than the guest can keep: it thaws by itself rather than go deaf" {
	keep_still freeze web 30000 100
	until_true 15 grep -q over "$BATS_TEST_TMPDIR/held"
	exec 8>&-
	wait "$holder"
	contains "$(cat "$BATS_TEST_TMPDIR/held")" expired
	# Long before its time was over, and nothing of what was sent is lost.
	[ "$(sed -n 's/^over \([0-9]*\).*/\1/p' "$BATS_TEST_TMPDIR/held")" -lt 15000000 ]
	expect 0 ember exec web -- sh -c 'cat /root/upload.* | wc -c; rm /root/upload.*'
	equal "$output" $((100 << 16))
	# Fewer of them wait for the thaw that they are told of.
	keep_still freeze web 30000 20
	sleep 1
	exec 8>&-
	wait "$holder"
	[[ $(cat "$BATS_TEST_TMPDIR/held") != *expired* ]]
	expect 0 ember exec web -- sh -c 'cat /root/upload.* | wc -c; rm /root/upload.*'
	equal "$output" $((20 << 16))
}

# interrupted_trim WORD...: `storage trim`, which waits for the thaw, with Ctrl-C; its status is $status.
interrupted_trim() {
	local pid

	env --default-signal=INT "$EMBER" storage trim -v "$@" 3>&- 8>&- >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" &
	pid=$!
	sleep 1
	kill -INT "$pid"
	waited "$pid"
}

@test "a trim waits for the thaw; interrupted it ends with 130, whatever was named" {
	keep_still freeze web 30000
	interrupted_trim
	equal "$status" 130
	contains "$(cat "$BATS_TEST_TMPDIR/err")" interrupted
	interrupted_trim web
	equal "$status" 130
	# What failed before does not matter any more.
	interrupted_trim nosuch web
	equal "$status" 130
	for words in "" web "nosuch web"; do
		# shellcheck disable=SC2086 # words
		interrupted_trim --format json $words
		equal "$status" 130
		equal "$(tail -n 1 "$BATS_TEST_TMPDIR/out" | jq -r .error.code)" canceled
	done
	"$EMBER" storage trim web web 3>&- 8>&- >"$BATS_TEST_TMPDIR/out" &
	trimmer=$!
	sleep 1
	kill -0 "$trimmer"
	expect 0 ember exec web -- cat /root/marker
	exec 8>&-
	wait "$holder"
	wait "$trimmer"
	equal "$(grep -c '^web' "$BATS_TEST_TMPDIR/out")" 1
}

@test "frozen, and the host dies: the guest thaws at once" {
	keep_still freeze web 30000
	kill -9 "$holder"
	expect 0 timeout 10 "$EMBER" exec web -- sh -c 'echo x >/root/writes; sync; rm /root/writes'
	keep_still freeze web 30000
	kill -9 "$(pgrep -f "ember-keeper.*$EMBER_STATE_DIR/vms/web/")"
	expect 0 timeout 15 "$EMBER" exec web -- sh -c 'echo x >/root/writes; sync; rm /root/writes'
}

@test "frozen, and the host hangs: the guest thaws by itself, and says so" {
	keep_still freeze web 1000
	expect 0 timeout 10 "$EMBER" exec web -- sh -c 'echo x >/root/writes; rm /root/writes'
	until_true 5 grep -q expired "$BATS_TEST_TMPDIR/held"
	# One at a time.
	keep_still freeze web
	run "$CLI_DIR/hold" freeze "$EMBER_STATE_DIR" web </dev/null
	contains "$output" "frozen already"
	expect 0 ember snapshot create web meanwhile
	contains "$stderr" "frozen already" "stands still instead"
	contains "$output" "crash-consistent"
	exec 8>&-
	wait "$holder"
}

@test "restore: the disk as it was, and its size; the VM is the same one" {
	local id

	id=$(field web .id)
	ember snapshot create web before
	ember exec web -- sh -c 'echo second >/root/marker; rm /bin/wc; sync'
	expect 4 ember snapshot restore web before
	explains "is running, expected created or stopped" "ember vm stop web"
	# That there is none is told first: nobody should have to stop a VM to learn it.
	expect 3 ember snapshot restore web before2
	explains "snapshot 'before2' of vm 'web' does not exist" "did you mean 'before'?"
	ember vm stop web
	ember vm resize web --disk-size 9G
	ember snapshot create web after
	expect 0 ember snapshot restore web before
	equal "$output" "Restored vm 'web' to snapshot 'before'."
	equal "$(field web '"\(.id) \(.status) \(.disk_size_mib)"')" "$id stopped 8192"
	equal "$(stat -c %s "$(field web .disk_path)")" $((8 << 30))
	ember vm start web
	expect 0 ember exec web -- sh -c 'cat /root/marker; ls /bin/wc; hostname'
	equal "$output" $'first\n/bin/wc\nweb'
	ember vm stop web
	# And to the later one, and back.
	expect 0 ember snapshot restore web after --format json
	json '. == { snapshot: "after", vm: "web", status: "restored" }'
	equal "$(field web .disk_size_mib)" 9216
	ember snapshot restore web before
	ember vm start web
	expect 0 ember exec web -- cat /root/marker
	equal "$output" first
}

@test "of VMs that never ran and that are stopped; forks with a size" {
	ember vm create idle --image busybox "${SMALL[@]}" --no-start
	expect 0 ember snapshot create idle new
	contains "$output" "filesystem-consistent"
	expect 0 ember snapshot list idle --format json
	json '.[0].vm_status == "created"'
	expect 0 ember snapshot restore idle new
	equal "$(status_of idle)" created
	expect 2 ember vm fork idle@new small --disk-size 4G --no-start
	explains "shrink" "snapshot 'idle@new' has 8 GiB"
	expect 0 ember vm fork idle@new big --disk-size 9G --no-start
	equal "$(field big .disk_size_mib)" 9216
	ember vm rename idle other
	expect 0 ember vm fork other@new again --no-start
	expect 0 ember snapshot list other --format json
	json 'length == 1'
	expect 0 ember vm delete other --format json
	json '.snapshots == 1 and .status == "deleted"'
	ember vm delete big again
}

@test "delete in any order, of source, snapshots and forks" {
	ember vm create root --image busybox "${SMALL[@]}" --no-start
	ember snapshot create root one
	ember vm fork root@one child --no-start
	ember snapshot create child two
	ember snapshot create root three
	ember vm fork child@two grandchild --no-start
	expect 0 ember snapshot delete root one three
	contains "$output" "Deleted snapshot 'one' of vm 'root'." "'three'"
	ember vm delete root
	ember snapshot delete child two
	ember vm delete child
	ember vm start grandchild
	expect 0 ember exec grandchild -- true
	ember vm delete --force grandchild
}

@test "names: what is taken, missing, reserved or none" {
	ember snapshot create web live
	expect 4 ember snapshot create web live
	explains "snapshot 'live' of vm 'web' already exists" "ember snapshot delete web live"
	expect 2 ember snapshot create web base
	explains "'base' is reserved"
	expect 2 ember snapshot restore web base
	expect 2 ember snapshot delete web base
	expect 2 ember vm fork web@base x
	explains "'base' is reserved"
	expect 2 ember snapshot create web ../x
	explains "not a valid snapshot name"
	expect 3 ember snapshot create nosuch a
	explains "vm 'nosuch' does not exist"
	expect 3 ember snapshot delete web lvie
	explains "snapshot 'lvie' of vm 'web' does not exist" "did you mean 'live'?"
	expect 3 ember snapshot list wbe
	explains "did you mean 'web'?"
	expect 3 ember vm fork web@lvie x
	explains "did you mean 'live'?"
	expect 2 ember vm fork web@ x
	expect 2 ember vm fork web@live@live x
	explains "not a valid snapshot name"
	expect 4 ember vm fork web@live web
	explains "already exists"
	expect 2 ember snapshot create web
	explains "VM NAME"
	[ ! -e "$EMBER_STATE_DIR/locks/vm-nosuch.lock" ]
}

@test "one that fails does not keep others from being deleted" {
	ember snapshot create web a
	ember snapshot create web b
	expect 3 ember snapshot delete web a nosuch b
	contains "$stderr" nosuch
	expect 0 ember snapshot list web --format json
	equal "$output" "[]"
}

@test "two terminals: of one name there is one, of two names both" {
	local first second

	"$EMBER" snapshot create web same 3>&- >"$BATS_TEST_TMPDIR/1" 2>&1 &
	first=$!
	"$EMBER" snapshot create web same 3>&- >"$BATS_TEST_TMPDIR/2" 2>&1 &
	second=$!
	waited "$first"
	local sum=$status
	waited "$second"
	equal $((sum + status)) 4
	contains "$(cat "$BATS_TEST_TMPDIR"/[12])" "Created snapshot" "already exists"
	"$EMBER" snapshot create web x 3>&- >"$BATS_TEST_TMPDIR/1" 2>&1 &
	first=$!
	"$EMBER" snapshot create web y 3>&- >"$BATS_TEST_TMPDIR/2" 2>&1 &
	wait "$first" $!
	wait "$first"
	equal "$(ember snapshot list web --format json | jq -c 'map(.name)')" '["same","x","y"]'
}

@test "a record that cannot be read, or is a copy: broken, deleted all the same, and nothing else suffers" {
	local dir=$EMBER_STATE_DIR/vms/web/snapshots

	ember snapshot create web live
	cp -a "$dir/live" "$dir/copy"
	expect 0 ember snapshot list web
	contains "$output" "copy" "broken"
	expect 0 ember snapshot list web --format json
	json '.[0] | .name == "copy" and .broken and .id == null'
	json '(.[0] | del(.broken) | keys) == (.[1] | keys)'
	expect 1 ember vm fork web@copy x --no-start
	explains "snapshot 'copy' of vm 'web' is broken" "ember snapshot delete web copy"
	expect 0 ember reconcile
	expect 0 ember snapshot delete web copy
	[ -e "$(volume_of web live)" ]
	# One that lost its record keeps every volume from being called an orphan.
	: >"$dir/live/snapshot.json"
	expect 0 ember reconcile
	contains "$output" "kept"
	ember snapshot delete web live
	expect 0 ember reconcile
	contains "$output" "removed orphaned volume"
}

@test "the store is full: nothing of it stays, and the VM is as it was" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/full
	local store n=0

	mkdir -m 700 "$EMBER_STATE_DIR"
	ember init --storage xfs --size 512M
	store=$EMBER_STATE_DIR/store
	ember image pull "oci:$OCI/busybox:latest" --name busybox
	ember vm create tight --image busybox "${SMALL[@]}" --no-start
	ember snapshot create tight one
	dd if=/dev/zero of="$store/filler" bs=1M 2>/dev/null || true
	dd if=/dev/zero of="$store/filler2" bs=4k 2>/dev/null || true
	while [ $((n++)) -lt 3000 ] && ember snapshot create tight "n$n" >/dev/null 2>"$BATS_TEST_TMPDIR/err"; do :; done
	contains "$(cat "$BATS_TEST_TMPDIR/err")" "o space" "hint: "
	expect 0 ember reconcile --dry-run --format json
	json '(.actions // .) == []'
	rm "$store/filler" "$store/filler2"
	expect 0 ember snapshot restore tight one
	ember vm delete tight
	ember deinit --purge
}

@test "what README shows of it" {
	local line shown

	mapfile -t shown < <(sed -n '/^## Changing/,/^## Images/{s/ *#.*//;/^ember /p}' "$CLI_DIR/../../README.md")
	[ "${#shown[@]}" -ge 8 ]
	for line in "${shown[@]}"; do
		# shellcheck disable=SC2086 # its words
		expect 0 $line
	done
	contains "$output" shop try busybox
	equal "$(field try .parent_snapshot)" before-upgrade
	ember vm delete --force try
	ember snapshot delete shop before-upgrade
	ember vm update-config shop --memory 256M --label tier-
	ember vm rename shop web
}

@test "completion: snapshots of the VM, in each shell's way" {
	ember snapshot create web live
	expect 0 ember __complete -- snapshot cr
	contains "$output" "create"
	expect 0 ember __complete -- snapshot restore we
	equal "$output" web
	expect 0 ember __complete -- snapshot restore web l
	equal "$output" live
	expect 0 ember __complete -- snapshot create web l
	equal "$output" ""
	expect 0 ember __complete -- vm fork w
	equal "$output" web
	expect 0 ember __complete -- vm fork web@
	equal "$output" web@live
	# bash makes three words of it.
	expect 0 ember __complete -- vm fork web @
	equal "$output" live
	expect 0 ember __complete -- vm fork web @ li
	equal "$output" live
	expect 0 ember __complete -- vm fork web @ live ''
	equal "$output" ""
}

@test "a disk that is no ext4: nobody knows whether it is at rest" {
	local disk

	ember vm create odd --image busybox "${SMALL[@]}" --no-start
	disk=$(field odd .disk_path)
	expect 0 ember snapshot create odd clean --format json
	json '.consistency == "filesystem"'
	printf 'XFSB' | dd of="$disk" conv=notrunc status=none
	dd if=/dev/urandom of="$disk" bs=1024 seek=1 count=1 conv=notrunc status=none
	expect 0 ember snapshot create odd foreign --format json
	json '.consistency == "crash"'
	ember snapshot delete odd clean foreign
	ember vm delete odd
}
