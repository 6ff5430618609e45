# lit: compiler tests are .cnn files with RUN and CHECK lines in their comments.
import os

import lit.formats

config.name = "cnnc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".cnn", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.join(os.path.dirname(__file__), "lit")
config.test_exec_root = lit_config.params["output"]
config.environment["LC_ALL"] = "C.UTF-8"
config.environment["ASAN_OPTIONS"] = "exitcode=99"
config.environment["UBSAN_OPTIONS"] = "exitcode=99:halt_on_error=1"

llvm = lit_config.params["llvm"]
config.environment["PATH"] = os.pathsep.join([os.path.join(llvm, "bin"), config.environment["PATH"]])
config.substitutions += [
    ("%cnnc", lit_config.params["cnnc"]),
    ("%FileCheck", os.path.join(llvm, "bin", "FileCheck")),
    ("%examples", os.path.join(os.path.dirname(__file__), os.pardir, "examples")),
    ("%cc", lit_config.params["compiler"]),
]
