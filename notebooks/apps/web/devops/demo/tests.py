"""What has to hold before the app is put into an image."""

from django.test import SimpleTestCase


class PageTest(SimpleTestCase):
    """The page answers at its own address, and nowhere else."""

    def test_page(self):
        """The page is there."""
        self.assertContains(self.client.get("/demo/"), "A web app in a container")

    def test_root(self):
        """Nothing lies at the root."""
        self.assertEqual(self.client.get("/").status_code, 404)
