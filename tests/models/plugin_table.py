"""Prints the table of docs/plugins.md: timm models as plug-ins, beside Python.

Features: the greatest difference for batches of 1, 2 and 7, as a part of the greatest value; gradients: the greatest
relative difference of a parameter's, in training mode, without drop path and dropout. Random weights, statistics of batch
normalisation drawn, too.

  cmake --build build/release --target encoder_features
  CSKD_BUILD_DIR=build/release CSKD_SOURCE_DIR=$PWD .venv/bin/python tests/models/plugin_table.py
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
import warnings

import timm
import torch
from plugin_parity import differences, export_timm

KINDS = {
    "plain transformers": "vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 vit_small_patch14_dinov2 "
    "beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224 xcit_nano_12_p16_224 mixer_s32_224 pit_ti_224",
    "hierarchical transformers": "swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 pvt_v2_b0 twins_pcpvt_small "
    "davit_tiny gcvit_xxtiny focalnet_tiny_srf nest_tiny hiera_tiny_224 maxvit_tiny_rw_224 crossvit_9_240",
    "convolutional": "resnet18 resnet50 resnext50_32x4d regnety_002 densenet121 inception_v3 vgg11_bn dla34 "
    "hrnet_w18_small convnext_atto convnextv2_atto poolformer_s12 rdnet_tiny starnet_s1 hgnet_tiny",
    "hybrid": "mobilevit_xxs mobilevitv2_050 levit_128s coatnet_nano_rw_224 edgenext_xx_small efficientformer_l1 "
    "efficientformerv2_s0 visformer_tiny sequencer2d_s mobilenetv4_hybrid_medium efficientvit_b0 efficientvit_m0 "
    "tiny_vit_5m_224",
    "mobile": "mobilenetv2_100 mobilenetv3_small_100 mobilenetv4_conv_small efficientnet_lite0 tf_efficientnet_b0 "
    "efficientnetv2_rw_t mobileone_s0 fastvit_t8 repvit_m0_9 ghostnet_100",
}


def cell(number):
    return "0" if number == 0 else f"{number:.0e}"


def row(kind, name):
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = export_timm(name, folder)
            found = differences(exported, folder)
        except Exception as error:  # the table says why
            reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
            return f"| {name} | {kind} |  |  |  |  | {reason} |", False
    facts = found.facts
    tokens = f"{facts['grid']} x {facts['grid']} of {facts['token_width']}" if found.tokens else "none"
    print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return (
        f"| {name} | {kind} | {facts['image_size']} | {facts['pooled_width']} | {tokens} | {cell(found.forward)} | "
        f"{cell(max(found.gradient, found.statistics))} |"
    ), True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names")
    names = parser.parse_args().only
    warnings.simplefilter("ignore")
    print("| model | kind | pixels | pooled | tokens | features | gradients, statistics |")
    print("| -- | -- | -- | -- | -- | -- | -- |")
    good = 0
    rows = [(kind, name) for kind, list in KINDS.items() for name in list.split() if not names or name in names]
    for kind, name in rows:
        text, is_good = row(kind, name)
        good += is_good
        print(text, flush=True)
    print(
        f"\n{good} of {len(rows)} on {datetime.date.today():%d %B %Y}, timm {timm.__version__}, PyTorch {torch.__version__}, "
        f"{platform.machine()} with {os.cpu_count()} cores."
    )


if __name__ == "__main__":
    main()
