# Failure injection in what is done to the disk and the name of a VM that is there; faults.bash says how it goes.
load faults

setup_file() {
	setup_faults
}

teardown_file() {
	drop_state
}

# mark WORD DISK: what a disk without a guest holds. marked DISK: which word that is.
mark() {
	echo "$1" >"$BATS_TEST_TMPDIR/mark"
	debugfs -w -R 'rm /mark' "$2" >/dev/null 2>&1
	debugfs -w -R "write $BATS_TEST_TMPDIR/mark mark" "$2" >/dev/null 2>&1
}

marked() {
	debugfs -R 'cat /mark' "$1" 2>/dev/null
}

# Its id and a word on its disk are what a VM is known by, whatever it is called.
have_marked() {
	have_stopped
	field subject .id >"$BATS_TEST_TMPDIR/id"
	mark kept "$(field subject .disk_path)"
}

have_marked_running() {
	have_marked
	ember vm start subject >/dev/null
}

# stays [NAME...]: the VM is there once, under one of these names (subject), whole and with its disk. $name is the one.
stays() {
	name=$(ember vm list --format json | jq -r '.[].name' | grep -vxE 'bystander|forked')
	if [[ " ${*:-subject} " != *" $name "* ]]; then
		complain "status $TOLD_STATUS, and of the VM there is '$name'"
		return 0
	fi
	[ "$(field "$name" .id)" = "$(cat "$BATS_TEST_TMPDIR/id")" ] || complain "it is another VM, or broken"
	# A guest that boots writes to it, and what is read meanwhile may not fit together.
	until_true 10 holds_mark "$name" 2>/dev/null || complain "its disk is lost"
}

holds_mark() {
	[ "$(marked "$(field "$1" .disk_path)")" = kept ]
}

# told DONE UNDONE EITHER: the one that fits how the command ended, success, failure or a kill.
told() {
	case $TOLD_STATUS in
	0) echo "$1" ;;
	137) echo "$3" ;;
	*) echo "$2" ;;
	esac
}

@test "vm rename" {
	drop_renamed() {
		# shellcheck disable=SC2046 # one name a word
		stays $(told renamed subject "subject renamed")
		ember vm delete --force "$name" >/dev/null
	}
	with_faults have_marked drop_renamed ember vm rename subject renamed
}

# Nothing of a resize is undone: only record and disk must agree.
drop_resized() {
	local record

	stays
	record=$(field subject .disk_size_mib)
	[ "$(stat -c %s "$(field subject .disk_path)")" -eq $((record << 20)) ] || complain "the record says $record MiB"
	[ "$TOLD_STATUS" -ne 0 ] || [ "$record" -eq 9216 ] || complain "it has $record MiB"
	no_subject
}

@test "vm resize of a stopped VM" {
	with_faults have_marked drop_resized ember vm resize subject --disk-size 9G
}

@test "vm resize of a running VM" {
	with_faults have_marked_running drop_resized ember vm resize subject --disk-size 9G
}

# The step that only a resize which was cut off has.
@test "reconcile after a resize that was cut off" {
	have_cut_off() {
		have_marked
		EMBER_KILL_AT=vm.resize.record ember vm resize subject --disk-size 9G >/dev/null 2>&1 || true
	}
	with_faults have_cut_off drop_resized ember reconcile
}

@test "vm update-config" {
	drop_updated() {
		local now

		stays
		now=$(field subject '"\(.memory_mib) \(.labels | length)"')
		case $(told changed same either):$now in
		changed:"300 1" | same:"256 0" | either:"300 1" | either:"256 0") ;;
		*) complain "status $TOLD_STATUS, and it has memory and labels $now" ;;
		esac
		no_subject
	}
	with_faults have_marked drop_updated ember vm update-config subject --memory 300M --label a=1
}

no_snapshots() {
	ember snapshot list subject --format json 2>/dev/null | jq -r '.[].name' |
		xargs -r "$EMBER" snapshot delete subject >/dev/null 2>&1 3>&- || true
}

disk_of_snapshot() {
	echo "$EMBER_STATE_DIR/store/$(jq -r .id "$EMBER_STATE_DIR/vms/subject/snapshots/$1/snapshot.json").raw"
}

has_snapshot() {
	[ -e "$EMBER_STATE_DIR/vms/subject/snapshots/before" ]
}

have_snapshot() {
	have_marked
	has_snapshot || ember snapshot create subject before >/dev/null
}

# What it holds, where there is one.
snapshot_is_whole() {
	! has_snapshot || [ "$(marked "$(disk_of_snapshot before)")" = kept ] || complain "the snapshot is lost"
}

# agrees WORD COMMAND...: whether COMMAND succeeds is as WORD (yes, no, or either) says.
agrees() {
	local is=no

	"${@:2}" >/dev/null 2>&1 && is=yes
	[ "$1" = either ] || [ "$1" = "$is" ] || complain "status $TOLD_STATUS, and '${*:2}' says $is"
}

@test "snapshot create of a stopped VM" {
	# Whatever became of it, there is a whole one or none.
	drop_whole() {
		stays
		agrees "$(told yes no either)" has_snapshot
		snapshot_is_whole
		if has_snapshot; then
			e2fsck -fn "$(disk_of_snapshot before)" >/dev/null 2>&1 || complain "the snapshot is not whole"
		fi
		no_snapshots
	}
	with_faults have_marked drop_whole ember snapshot create subject before
	no_subject
}

@test "snapshot create of a running VM, which goes on in any case" {
	stays_running() {
		[ "$(status_of subject 2>/dev/null)" = running ] || {
			have_running
			ember vm wait subject --for ready >/dev/null
		}
	}
	drop_writing() {
		timeout 8 "$EMBER" exec subject -- sh -c 'echo x >/root/writes && sync' >/dev/null 2>&1 3>&- ||
			complain "the guest does not write"
		no_snapshots
	}
	STAYS=yes ONLY='^snapshot' with_faults stays_running drop_writing ember snapshot create subject before
	no_subject
}

@test "snapshot restore: at any time the VM has one of its two disks, and the snapshot is there" {
	have_two() {
		no_snapshots
		have_stopped
		mark old "$(field subject .disk_path)"
		ember snapshot create subject before >/dev/null
		mark new "$(field subject .disk_path)"
	}
	# What is told to have failed has not happened.
	drop_either() {
		local mark

		mark=$(marked "$(field subject .disk_path)")
		case $TOLD_STATUS:$mark in
		0:old | 137:old | 137:new | [1-8]:new) ;;
		*) complain "status $TOLD_STATUS, and the disk is '$mark'" ;;
		esac
		[ "$(marked "$(disk_of_snapshot before)")" = old ] || complain "the snapshot is lost"
		no_subject
	}
	with_faults have_two drop_either ember snapshot restore subject before
}

# Where it could not be taken apart the snapshot has gone all the same, and reconcile does the rest.
@test "snapshot delete" {
	after_snapshot_delete() {
		stays
		agrees "$(told no either either)" has_snapshot
		snapshot_is_whole
	}
	with_faults have_snapshot after_snapshot_delete ember snapshot delete subject before
	no_subject
}

@test "vm fork of a snapshot, and vm delete of a VM with snapshots" {
	drop_fork() {
		stays
		agrees yes has_snapshot
		snapshot_is_whole
		agrees "$(told yes no either)" ember vm inspect forked
		if ember vm inspect forked >/dev/null 2>&1; then
			[ "$(marked "$(field forked .disk_path)")" = kept ] || complain "the fork has another disk"
		fi
		no_fork
	}
	after_delete() {
		agrees "$(told no either either)" ember vm inspect subject
		if ember vm inspect subject >/dev/null 2>&1; then
			stays
			agrees yes has_snapshot
			snapshot_is_whole
		fi
		no_subject
	}
	with_faults have_snapshot drop_fork ember vm fork subject@before forked --no-start
	with_faults have_snapshot after_delete ember vm delete subject
}

@test "what has happened is not reported as a failure, though a power cut may undo it" {
	have_marked
	EMBER_FAIL_AT=change.sync expect 0 ember snapshot create subject before
	contains "$stderr" "it is done"
	has_snapshot
	EMBER_FAIL_AT=change.sync expect 0 ember vm fork subject forked --no-start
	contains "$stderr" "it is done"
	ember vm start forked
	ember vm stop --force forked
	EMBER_FAIL_AT=change.sync expect 0 ember vm rename forked renamed
	contains "$stderr" "it is done"
	# What follows the rename is done too.
	equal "$(jq -r .vm_name "$EMBER_STATE_DIR/vms/renamed/launch.json")" renamed
	ember vm delete subject renamed
	assert_no_leftovers
}

@test "what a power cut may bring back is not destroyed before it cannot" {
	local former

	have_snapshot
	mark new "$(field subject .disk_path)"
	former=$(field subject .disk_path)
	EMBER_FAIL_AT=change.sync expect 0 ember snapshot restore subject before
	contains "$stderr" "it is done"
	equal "$(marked "$(field subject .disk_path)")" kept
	equal "$(marked "$former")" new
	# Another command would destroy it, and cannot flush either.
	EMBER_FAIL_AT=destroy.sync expect 0 ember vm update-config subject --label a=1
	contains "$stderr" "clean up after an interrupted command"
	equal "$(marked "$former")" new
	ember reconcile
	[ ! -e "$former" ]
	former=$(disk_of_snapshot before)
	EMBER_FAIL_AT=change.sync expect 0 ember snapshot delete subject before
	contains "$stderr" "it is done"
	[ -e "$former" ]
	former=$(field subject .disk_path)
	EMBER_FAIL_AT=change.sync expect 0 ember vm delete subject
	contains "$stderr" "it is done"
	equal "$(marked "$former")" kept
	expect 3 ember vm inspect subject
	ember reconcile
	[ ! -e "$former" ]
	assert_no_leftovers
}

@test "the directory that a snapshot was hidden from is flushed before its volume goes" {
	local volume

	have_snapshot
	ember snapshot create subject another
	volume=$(disk_of_snapshot before)
	EMBER_FAIL_AT=change.sync expect 0 ember snapshot delete subject before
	[ -e "$volume" ]
	# The leak checker cannot look at a process that is traced.
	ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 strace -f -y -e trace=fsync,unlink,unlinkat \
		-o "$BATS_TEST_TMPDIR/trace" "$EMBER" reconcile
	[ ! -e "$volume" ]
	awk -v volume="$(basename "$volume")" '
		/fsync.*\/vms\/subject\/snapshots>/ { flushed = NR }
		/unlink/ && index($0, volume) && !gone { gone = NR }
		END { exit !(flushed && gone && flushed < gone) }' "$BATS_TEST_TMPDIR/trace"
	ember vm delete subject
	assert_no_leftovers
}

# An installation of its own on a managed store, at its first size.
have_small_store() {
	ember vm delete --force --all >/dev/null 2>&1 || true
	ember deinit --purge >/dev/null 2>&1 || true
	mkdir -p "$EMBER_STATE_DIR"
	ember init --storage btrfs --size 512M >/dev/null
	cp -a "$EMBER_TEST_CACHE/fs/base/kernels" "$EMBER_STATE_DIR/"
	ember image pull "oci:$OCI/busybox:latest" --name busybox >/dev/null
	ember vm create bystander --image busybox "${SMALL[@]}" --no-start >/dev/null
	field bystander . | jq -S . >"$BATS_FILE_TMPDIR/bystander"
}

@test "storage grow and trim" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/faults-grow BATS_FILE_TMPDIR=$BATS_TEST_TMPDIR
	local -x ONLY='^storage\.(grow|trim)'

	have_small_store
	with_faults have_small_store nothing ember storage grow --size 600M
	with_faults nothing nothing ember storage trim
	ember vm delete bystander
	ember deinit --purge
}

@test "every step in what is done to a VM's disk and name was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -E "$STORAGE_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
