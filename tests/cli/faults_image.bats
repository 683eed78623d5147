# Failure injection in what images and kernels go through; faults.bash says how it goes.
load faults

setup_file() {
	setup_faults
	make_fake_mmdebstrap
	make_frugal_apt
	export ARCHIVE=$BATS_FILE_TMPDIR/busybox.tar
	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$ARCHIVE" 3>&-
}

teardown_file() {
	drop_state
}

# The real one is tested in image.bats; here its part is played in no time.
make_fake_mmdebstrap() {
	local bin=$BATS_FILE_TMPDIR/bin

	mkdir -p "$bin"
	cat >"$bin/mmdebstrap" <<-'FAKE'
		#!/bin/bash
		# The target is the last argument but one, or the one that ends in .tar; else stdout.
		target=-
		for word in "$@"; do
			case $word in -*) ;; *.tar) target=$word ;; esac
		done
		layer=$(find "$OCI/busybox/blobs/sha256" -size +100k | head -n 1)
		if [ "$target" = - ]; then gzip -dc "$layer"; else gzip -dc "$layer" >"$target"; fi
	FAKE
	chmod +x "$bin/mmdebstrap"
}

# The real apt once, then what it gave that time: the kernel's steps fetch it a dozen times.
make_frugal_apt() {
	local bin=$BATS_FILE_TMPDIR/frugal kept=$BATS_FILE_TMPDIR/kept program

	mkdir -p "$bin" "$kept"
	for program in apt-get apt-cache; do
		cat >"$bin/$program" <<-FRUGAL
			#!/bin/bash
			real=$(command -v "$program") kept=$kept
			case \$1 in
			update) [ -e "\$kept/depends" ] || exec "\$real" "\$@" ;;
			depends)
				[ -s "\$kept/depends" ] || "\$real" "\$@" >"\$kept/depends"
				cat "\$kept/depends"
				;;
			download)
				if compgen -G "\$kept/*.deb" >/dev/null; then
					cp "\$kept"/*.deb .
				else
					"\$real" "\$@" && cp ./*.deb "\$kept/"
				fi
				;;
			esac
		FRUGAL
		chmod +x "$bin/$program"
	done
}

have_image() {
	ember image pull "oci:$OCI/busybox:latest" --name made >/dev/null
}

no_image() {
	ember image delete made >/dev/null 2>&1 || true
}

no_blobs() {
	ember image prune --blobs >/dev/null 2>&1 || true
}

@test "image pull" {
	with_faults no_blobs no_image ember image pull "oci:$OCI/busybox:latest" --name made
}

# A layout whose reference moves: what is here is replaced by what it names by then.
@test "image pull --refresh: at any time there is an image of that name" {
	local moving=$BATS_FILE_TMPDIR/moving

	have_former() {
		rm -rf "$moving"
		cp -r "$OCI/busybox" "$moving"
		ember image pull "oci:$moving:latest" --name made >/dev/null 2>&1
		move_layout "$moving"
	}
	lose_image() {
		ember image inspect made >/dev/null 2>&1 || complain "there is no image"
		no_image
	}
	with_faults have_former lose_image ember image pull "oci:$moving:latest" --name made --refresh
}

@test "image pull from an archive, by way of skopeo" {
	with_faults nothing no_image ember image pull "oci-archive:$ARCHIVE" --name made
}

@test "image pull with a damaged blob in the cache" {
	spoil_cache() {
		ember image pull "oci-archive:$ARCHIVE" --name made >/dev/null 2>&1
		ember image delete made >/dev/null
		: >"$(find "$EMBER_STATE_DIR/blobs/sha256" -size +100k)"
	}
	ONLY=image.blob with_faults spoil_cache no_image ember image pull "oci-archive:$ARCHIVE" --name made
}

@test "image rename: at any time it has one of its names" {
	lose_either() {
		[ "$(ember image list --format json | jq '[.images[] | select(.local_name == "made" or .local_name == "renamed")] | length')" = 1 ] ||
			complain "not one image"
		ember image delete renamed >/dev/null 2>&1 || no_image
	}
	with_faults have_image lose_either ember image rename made renamed
}

@test "image prune" {
	have_blobs() {
		ember image pull "oci-archive:$ARCHIVE" --name made >/dev/null 2>&1
	}
	lose_blobs() {
		no_image
		ember image prune --blobs >/dev/null 2>&1 || true
	}
	# Others have no VM either; they are needed.
	keep_others() {
		ember vm create "of-$1" --image "$1" "${SMALL[@]}" --no-start >/dev/null
	}
	keep_others debian
	with_faults have_blobs lose_blobs ember image prune
	ember vm delete of-debian
}

@test "the kernel that the first start fetches" {
	PATH=$BATS_FILE_TMPDIR/frugal:$PATH
	no_kernel() {
		have_stopped
		rm -rf "$EMBER_STATE_DIR"/kernels/*
	}
	# The start's own steps are above.
	ONLY='^kernel' with_faults no_kernel leave_subject_stopped ember vm start subject
	no_subject
}

@test "image build" {
	PATH=$BATS_FILE_TMPDIR/bin:$PATH
	with_faults nothing no_image ember image build made
}

# make_context DIR [INSTRUCTION...]: what the engine has to do is next to nothing.
make_context() {
	local dir=$1

	shift
	mkdir -p "$dir"
	echo content >"$dir/file"
	printf '%s\n' 'FROM scratch' 'COPY file /file' "$@" >"$dir/Containerfile"
}

@test "image build from a Containerfile, and instead of a former image" {
	local context=$BATS_TEST_TMPDIR/context

	engine_store
	make_context "$context"
	lose_built() {
		assert_no_containers 2>/dev/null || complain "a working container is left"
		no_image
	}
	with_faults no_blobs lose_built ember image build made "$context"
	have_built() {
		ember image inspect made >/dev/null 2>&1 || ember image build made "$context" >/dev/null 2>&1
	}
	ONLY='exchange' with_faults have_built lose_built ember image build made "$context" --replace
	rm -rf "$ENGINE_STORE"
}

@test "image build from a Containerfile by docker" {
	local context=$BATS_TEST_TMPDIR/context bin=$BATS_TEST_TMPDIR/docker
	local -x FAKE_DOCKER_CALLS=$BATS_TEST_TMPDIR/calls

	make_context "$context"
	mkdir -p "$bin"
	ln -s "$CLI_DIR/../fake/docker" "$bin/docker"
	PATH=$bin:$PATH
	ONLY='^image\.build' with_faults nothing no_image ember image build made "$context" --engine docker
}

# What is taken back when the engine fails is taken back by reconcile when ember dies over it.
@test "the sweep after a build that failed" {
	local context=$BATS_TEST_TMPDIR/context mode

	engine_store
	make_context "$context" 'RUN ["/nothing"]'
	RESOURCES=$(resources)
	export RESOURCES TOLD_COMMAND="image build" TOLD_STEP=image.build.sweep TOLD_MODE
	: >"$BATS_TEST_TMPDIR/complaints"
	for mode in FAIL KILL; do
		TOLD_MODE=$mode
		EMBER_STEPS_TO=$REACHED env "EMBER_${mode}_AT=image.build.sweep" \
			timeout 60 "$EMBER" image build made "$context" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- || true
		[ "$mode" = KILL ] || contains "$(cat "$BATS_TEST_TMPDIR/out")" "warning: remove what" "buildah could not build"
		check_world
	done
	equal "$(cat "$BATS_TEST_TMPDIR/complaints")" ""
	assert_no_containers
	rm -rf "$ENGINE_STORE"
}

@test "image delete" {
	with_faults have_image no_image ember image delete made
}

# What it is made of is in tests/image/export.py; here it dies at every step.
@test "ember-image export: a layout names nothing that is not whole" {
	local disk=$BATS_TEST_TMPDIR/disk layout=$BATS_TEST_TMPDIR/layout

	have_dirty_disk() {
		rm -rf "$disk" "$BATS_TEST_TMPDIR/tree"
		mkdir -p "$BATS_TEST_TMPDIR/tree/etc"
		mke2fs -q -t ext4 -d "$BATS_TEST_TMPDIR/tree" "$disk" 16M
		head -c 1024 /dev/zero >"$BATS_TEST_TMPDIR/block"
		printf 'jo\njw -b 9000 %s\njc\n' "$BATS_TEST_TMPDIR/block" | debugfs -w -f - "$disk" >/dev/null 2>&1
	}
	export_layout() {
		"$EMBER_BUILD/ember-image" export --disk "$disk" --layout "$layout:t" --recover >&2
	}
	lose_layout() {
		local name

		for name in $(cd "$layout/blobs/sha256" 2>/dev/null && ls); do
			[ "$(sha256sum <"$layout/blobs/sha256/$name")" = "$name  -" ] || complain "blob $name is not whole"
		done
		[ ! -e "$layout/index.json" ] || umoci stat --image "$layout:t" >/dev/null || complain "the image is not whole"
		rm -rf "$layout"
	}
	with_faults have_dirty_disk lose_layout export_layout
}

no_kernel_made() {
	ember kernel default stock >/dev/null 2>&1 || true
	ember kernel delete made >/dev/null 2>&1 || true
}

# A tarball, so that it is unpacked too; what is compiled is a source of three files.
make_kernel_source() {
	SOURCE=$BATS_TEST_TMPDIR/linux.tar.gz
	tar -czf "$SOURCE" -C "$CLI_DIR/../fake" kernel
}

@test "kernel build" {
	make_kernel_source
	with_faults nothing no_kernel_made ember kernel build made --source "$SOURCE" --default
}

@test "kernel build of another configuration: at any time there is a kernel of that name" {
	make_kernel_source
	echo CONFIG_MORE=y >"$BATS_TEST_TMPDIR/fragment"
	have_former_kernel() {
		ember kernel build made --source "$SOURCE" >/dev/null
	}
	lose_kernel() {
		[ -s "$EMBER_STATE_DIR/kernels/made/vmlinux" ] || complain "there is no kernel"
		no_kernel_made
	}
	with_faults have_former_kernel lose_kernel \
		ember kernel build made --source "$SOURCE" --config "$BATS_TEST_TMPDIR/fragment"
}

@test "kernel build from the archive" {
	local bin=$BATS_TEST_TMPDIR/archive

	mkdir -p "$bin" "$BATS_TEST_TMPDIR/package/DEBIAN" "$BATS_TEST_TMPDIR/package/usr/src"
	tar -cJf "$BATS_TEST_TMPDIR/package/usr/src/linux-source-9.9.tar.xz" -C "$CLI_DIR/../fake" kernel
	printf 'Package: linux-source-9.9\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' \
		>"$BATS_TEST_TMPDIR/package/DEBIAN/control"
	dpkg-deb -Znone -b "$BATS_TEST_TMPDIR/package" "$BATS_TEST_TMPDIR/linux-source-9.9_1_all.deb" >/dev/null
	printf '#!/bin/sh\n[ "$1" != download ] || cp %s/*.deb .\n' "$BATS_TEST_TMPDIR" >"$bin/apt-get"
	printf '#!/bin/sh\necho "  Depends: linux-source-9.9"\necho "  Candidate: 1"\n' >"$bin/apt-cache"
	chmod +x "$bin"/apt-*
	PATH=$bin:$PATH
	ONLY='fetch' with_faults nothing no_kernel_made ember kernel build made --refresh
}

@test "kernel add" {
	with_faults nothing no_kernel_made ember kernel add made "$EMBER_STATE_DIR/kernels/stock/vmlinux" \
		--initrd "$EMBER_STATE_DIR/kernels/stock/initrd" --default
}

@test "kernel delete" {
	have_kernel() {
		ember kernel add made "$EMBER_STATE_DIR/kernels/stock/vmlinux" >/dev/null 2>&1 || true
	}
	with_faults have_kernel no_kernel_made ember kernel delete made

}

@test "what has happened is not reported as a failure, and what a power cut may bring back is kept" {
	local moving=$BATS_TEST_TMPDIR/moving former kernel=$EMBER_STATE_DIR/kernels/stock/vmlinux

	disk_of_image() {
		ember image inspect "$1" --format json | jq -r .disk_path
	}
	cp -r "$OCI/busybox" "$moving"
	EMBER_FAIL_AT=change.sync expect 0 ember image pull "oci:$moving:latest" --name made
	contains "$stderr" "it is done"
	former=$(disk_of_image made)
	move_layout "$moving"
	EMBER_FAIL_AT=change.sync expect 0 ember image pull "oci:$moving:latest" --name made --refresh
	contains "$stderr" "it is done"
	[ "$(disk_of_image made)" != "$former" ]
	[ -e "$former" ]
	EMBER_FAIL_AT=destroy.sync expect 0 ember image rename made renamed
	contains "$stderr" "clean up after an interrupted command"
	[ -e "$former" ]
	ember reconcile
	[ ! -e "$former" ]
	former=$(disk_of_image renamed)
	EMBER_FAIL_AT=change.sync expect 0 ember image export renamed "$BATS_TEST_TMPDIR/out.raw" --as raw
	contains "$stderr" "it is done"
	[ -s "$BATS_TEST_TMPDIR/out.raw" ]
	EMBER_FAIL_AT=change.sync expect 0 ember image delete renamed
	contains "$stderr" "it is done"
	[ -e "$former" ]

	EMBER_FAIL_AT=change.sync expect 0 ember kernel add made "$kernel" --default
	contains "$stderr" "it is done"
	equal "$(ember kernel list --format json | jq -r '.kernels[] | select(.default) | .name')" made
	ember kernel default stock
	EMBER_FAIL_AT=change.sync expect 0 ember kernel delete made
	contains "$stderr" "it is done"
	[ -n "$(ls "$EMBER_STATE_DIR"/trash)" ]
	make_kernel_source
	ember kernel build made --source "$SOURCE"
	former=$(sha256sum <"$EMBER_STATE_DIR/kernels/made/vmlinux")
	echo CONFIG_MORE=y >"$BATS_TEST_TMPDIR/fragment"
	EMBER_FAIL_AT=change.sync expect 0 ember kernel build made --source "$SOURCE" --config "$BATS_TEST_TMPDIR/fragment"
	contains "$stderr" "it is done"
	equal "$(sha256sum <"$EMBER_STATE_DIR/tmp/kernel:made/kernel/vmlinux")" "$former"
	ember kernel delete made
	ember reconcile
	assert_no_leftovers
}

@test "every step of images and kernels was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -E "$IMAGE_STEPS" | grep -vE "$MOVE_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
