"""Networks: sizes, shapes, starts."""

import pytest
import torch

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.catalogue import build_network, fixed_input_shape, input_multiple
from CMRSimExtension.networks.classes import strongest_class
from CMRSimExtension.networks.initialisation import initialise
from CMRSimExtension.networks.normalisation import normalise


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


def test_the_resnet_vae_has_the_papers_number_of_parameters():
    assert parameters(build_network("resnet_vae", 1, 2)) == 3_555_891  # P4, table 2


def test_the_nnunet_has_the_papers_number_of_parameters():
    assert parameters(build_network("nnunet", 1, 2)) == 34_164_258  # P4, table 2


def test_the_small_unet_is_small_enough_to_train_on_two_cores():
    assert 1.6e6 < parameters(build_network("slice_unet", 1, 4)) < 4e6


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (128, 160)])
def test_the_small_unet_gives_logits_of_the_images_own_size(shape):
    network = build_network("slice_unet", 1, 4, widths=(8, 16, 16, 16, 16), detail_width=4)
    assert network(torch.zeros(2, 1, *shape)).shape == (2, 4, *shape)


def test_the_small_unet_names_the_multiple_that_a_side_must_have():
    network = build_network("slice_unet", 1, 4, widths=(8, 16, 16), detail_width=4)
    with pytest.raises(InputError, match="multiples of 8"):
        network(torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize(("layers", "shape"), [(5, (10, 64, 80)), (6, (16, 64, 96)), (6, (20, 64, 64))])
def test_paper_2s_unet_takes_paper_2s_numbers_of_slices(layers, shape):
    network = build_network("paper_unet_3d", 1, 4, layers=layers, width=4)
    assert network(torch.zeros(1, 1, *shape)).shape == (1, 4, *shape)


def test_paper_2s_unet_keeps_its_upper_layers_in_the_slice_plane():
    network = build_network("paper_unet_3d", 1, 4, width=4)
    kernels = [layer.kernel_size for layer in network.modules() if isinstance(layer, torch.nn.Conv3d)]
    assert (1, 3, 3) in kernels and (3, 3, 3) in kernels
    assert network.down[0][0][0].kernel_size == (1, 3, 3)


def test_paper_2s_unet_has_dropout_of_one_half():
    network = build_network("paper_unet_3d", 1, 4, width=4)
    assert 0.5 in {layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout3d)}


def test_paper_2s_unet_has_five_or_six_layers_and_no_other_number():
    with pytest.raises(InputError, match="5 or 6"):
        build_network("paper_unet_3d", 1, 4, layers=4)


def test_three_dimensional_forms_of_the_papers_networks_can_be_built():
    network = build_network(
        "nnunet", 1, 4, spatial_dims=3, filters=(4, 8, 8), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        upsample_kernel_size=((1, 2, 2), (2, 2, 2)),
    )  # fmt: skip
    assert network(torch.zeros(1, 1, 4, 16, 16)).shape == (1, 4, 4, 16, 16)
    assert input_multiple(network, 3) == (2, 4, 4)


def test_an_unknown_network_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="slice_unet"):
        build_network("unet", 1, 4)


def test_a_setting_that_a_network_does_not_take_is_named():
    with pytest.raises(InputError, match="depth"):
        build_network("slice_unet", 1, 4, depth=3)


def test_the_resnet_vae_takes_one_size_only():
    assert fixed_input_shape(build_network("resnet_vae", 1, 2)) == (256, 256)
    assert fixed_input_shape(build_network("slice_unet", 1, 4)) is None


def test_he_initialisation_gives_the_variance_of_he():
    network = torch.nn.Sequential(torch.nn.Conv2d(64, 256, 3))
    torch.manual_seed(0)
    initialise(network, "he")
    # 2 / ((1 + a^2) fan_in) with a = 0.01; 147,456 draws leave the variance 0.4 % of error (one sigma).
    assert network[0].weight.var().item() == pytest.approx(2.0 / (1.0001 * 64 * 9), rel=0.02)


def test_xavier_initialisation_gives_the_variance_of_glorot():
    network = torch.nn.Sequential(torch.nn.Conv2d(64, 256, 3))
    torch.manual_seed(0)
    initialise(network, "xavier_normal")
    assert network[0].weight.var().item() == pytest.approx(2.0 / ((64 + 256) * 9), rel=0.02)


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(InputError, match="xavier_normal"):
        initialise(torch.nn.Linear(2, 2), "zeros")


@pytest.mark.parametrize("scheme", ["robust", "zscore"])
def test_normalisation_does_not_depend_on_the_intensity_unit(scheme):
    torch.manual_seed(0)
    image = torch.rand(2, 1, 40, 50)
    scaled = normalise(3000.0 * image + 17.0, scheme)
    assert torch.allclose(normalise(image, scheme), scaled, atol=1e-4)  # single precision of values near 3000


@pytest.mark.parametrize("scheme", ["robust", "zscore"])
def test_normalised_images_have_zero_mean_and_unit_spread(scheme):
    torch.manual_seed(0)
    result = normalise(torch.rand(2, 1, 40, 50) * 100, scheme)
    assert torch.allclose(result.flatten(1).mean(1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(result.flatten(1).std(1, unbiased=False), torch.ones(2), atol=1e-5)


def test_paper_4s_normalisation_maps_black_and_white_as_published():
    result = normalise(torch.tensor([[[[10.0, 30.0]]]]), "paper4").flatten()
    assert result.tolist() == pytest.approx([-0.456 / 0.224, 0.544 / 0.224])


def test_minmax_maps_black_to_0_and_white_to_1():
    assert normalise(torch.tensor([[[[10.0, 15.0, 30.0]]]]), "minmax").flatten().tolist() == [0.0, 0.25, 1.0]


def test_a_constant_image_becomes_zero_and_not_noise():
    assert torch.equal(normalise(torch.full((1, 1, 8, 8), 1234.5)), torch.zeros(1, 1, 8, 8))


def test_a_few_very_bright_pixels_hardly_change_robust_normalisation():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 64, 64)
    spoilt = image.clone()
    spoilt[0, 0, 0, :4] = 1e4
    assert (normalise(image) - normalise(spoilt))[0, 0, 1:].abs().max() < 0.02


def test_the_strongest_class_is_what_argmax_says():
    torch.manual_seed(0)
    scores = torch.randint(0, 5, (2, 4, 9, 7)).float()  # with many equals
    assert torch.equal(strongest_class(scores), scores.argmax(1))
