# For Debian 12, as root: guests are made, changed and booted. Nothing but git and make has to be
# there before.
#
#   make demo    a small Debian guest is made, prepared and shown
#   make test    everything that tests need is installed, and every check and test run
#   make test-xen    every guest under a real Xen
#   make test-long    other guests that boot, and a fault at every call of a conversion
#   make fuzz    every parser under atheris, and pygrub beside its simulation
#   make scale   how cost grows with the guest
#   make setup, lint, unit, bench, deb, rpm, clean

SHELL := /bin/sh -e
PYTHON := /usr/bin/python3
VENV := .venv
VERSION := $(shell sed -n 's/^version = //p' setup.cfg)
# Packages are built by the system's programs, not by others of a user's.
SYSTEM_PATH := /usr/sbin:/usr/bin:/sbin:/bin
DEB := build/pvprep_$(VERSION)_all.deb
DEB_TREE := build/deb/pvprep-$(VERSION)
RPM := build/pvprep-$(VERSION)-1.noarch.rpm
# What is in the checkout, committed or not, but for what git ignores.
SHIPPED := $(wildcard $(shell git ls-files -co --exclude-standard \
    agent packaging setup.cfg pyproject.toml README.md COPYING))

.PHONY: setup lint unit test test-xen test-long fuzz scale demo bench deb rpm clean

setup: build/test.packages $(VENV)/requirements

# Packages of one kind (demo, test), which tests/packages.txt lists. Nothing is asked of the archive
# where all are there. The kinds that are installed already are named by empty files.
build/%.packages: tests/packages.txt
	@mkdir -p build
	@packages=$$(awk -v kind=$* '!/^#/ && (kind == "test" ? NF : $$2 == kind) { print $$1 }' $<); \
	if dpkg-query -W -f '$${db:Status-Abbrev}\n' $$packages 2>&1 | grep -qv '^ii'; then \
	    apt-get -q update; \
	    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $$packages; \
	fi
	@touch $@

# The system's packages are seen in it: python3-apt exists nowhere else.
$(VENV)/requirements: tests/requirements.txt build/test.packages
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(VENV)/bin/pip -q --disable-pip-version-check install -r $<
	@touch $@

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

unit: setup
	$(VENV)/bin/pytest -q tests/unit

# The whole run; pytest has the last word. Two files at a time, the slow ones first
# (tests/conftest.py).
test: setup lint
	@$(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not xen_all and not long"

# Every guest under Xen, in all ways, one after the other: two Xens starve each other. Writes the
# table in the README, also where one fails. Two hours or three.
test-xen: setup
	rm -rf build/xen-results
	@status=0; $(VENV)/bin/pytest -m "xen or xen_all" tests/xen || status=$$?; \
	PYTHONPATH=agent $(VENV)/bin/python -m tests.xen.proof whole; exit $$status

# What takes too long for every run, but for Xen; writes how much was tried into the README. Hours.
test-long: setup
	rm -rf build/figures
	@$(VENV)/bin/pytest -n 2 --dist worksteal -m "long or tried"
	@PYTHONPATH=agent $(VENV)/bin/python -m tests.figures

# Writes its table in the README. FUZZ=--seconds=300, or names of targets.
fuzz: setup $(VENV)/fuzz-requirements
	@PYTHONPATH=agent $(VENV)/bin/python -m tests.fuzz $(FUZZ)
	@PYTHONPATH=agent $(VENV)/bin/python -m tests.fuzz.differential

$(VENV)/fuzz-requirements: tests/fuzz/requirements.txt $(VENV)/requirements
	$(VENV)/bin/pip -q --disable-pip-version-check install -r $<
	@touch $@

deb: $(DEB)

$(DEB): $(SHIPPED) | build/test.packages
	rm -rf build/deb
	mkdir -p $(DEB_TREE)
	cp --parents $(SHIPPED) $(DEB_TREE)
	cp -r $(DEB_TREE)/packaging/deb $(DEB_TREE)/debian
	cd $(DEB_TREE) && env PATH=$(SYSTEM_PATH) dpkg-buildpackage --build=binary --no-sign
	cp build/deb/pvprep-dom0_$(VERSION)_all.deb build/deb/$(notdir $(DEB)) build/

rpm: $(RPM)

# --nodeps: on Debian rpm's database is empty, whatever is installed.
$(RPM): $(SHIPPED) | build/test.packages
	rm -rf build/rpm
	mkdir -p build/rpm
	tar -czf build/rpm/pvprep-$(VERSION).tar.gz --owner=0 --group=0 --numeric-owner \
	    --transform 's,^,pvprep-$(VERSION)/,' $(SHIPPED)
	env PATH=$(SYSTEM_PATH) rpmbuild -ba --nodeps --define '_topdir $(CURDIR)/build/rpm' \
	    --define '_sourcedir $(CURDIR)/build/rpm' packaging/rpm/pvprep.spec
	cp build/rpm/RPMS/noarch/*.rpm build/

DEMO := build/demo
DEMO_CONFIG := build/bifit.cfg
PVPREP := PYTHONPATH=agent $(PYTHON) -m pvprep --root $(DEMO)
demo: build/demo.packages
	rm -rf --one-file-system $(DEMO)
	$(PYTHON) -m tests.guests.demo $(DEMO)
	$(PVPREP) --dry-run
	$(PVPREP) --emit-config=$(DEMO_CONFIG) --name bifit --memory 512 --vcpus 1 \
	    --bridge xenbr4 --disk-backend /dev/drbd/bifit
	cat $(DEMO_CONFIG)

# Large guests; writes its table in the README.
scale: setup
	@PYTHONPATH=agent $(VENV)/bin/python -m tests.scale

bench: setup
	$(VENV)/bin/python -m tests.bench

clean:
	rm -rf --one-file-system build $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find agent tests packaging -name __pycache__ -exec rm -rf {} +
